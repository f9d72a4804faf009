// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
public import RayStore

/// What a node, or a `FileServer`, may take of the network, and of memory for it. Rates are bytes a second as they go over the network, at least 64 KiB; nil for no cap.
public struct TransferCaps: Hashable, Sendable {
    /// All that is sent.
    public var send: ByteCount?
    /// All that is received.
    public var receive: ByteCount?
    /// What is sent, and what is received, in a class of urgency.
    public var urgency: [TransferTuning.Urgency: ByteCount]
    /// All buffers together; nil for 512 MiB. At least 108 MiB and 4 MiB for each core. Where there is no more, transfers wait.
    public var memory: ByteCount?

    public init(
        send: ByteCount? = nil, receive: ByteCount? = nil, urgency: [TransferTuning.Urgency: ByteCount] = [:],
        memory: ByteCount? = nil
    ) {
        self.send = send
        self.receive = receive
        self.urgency = urgency
        self.memory = memory
    }

    /// - Throws: `invalidArgument` naming the cap that is not possible.
    package func check() throws(RayStoreError) {
        let classes = TransferTuning.Urgency.allCases.map { ("urgency.\($0.rawValue)", urgency[$0]) }
        for (name, cap) in [("send", send), ("receive", receive)] + classes {
            guard let cap, cap.bytes < Int(RAY_RATE_MIN) else { continue }
            throw RayStoreError(
                .invalidArgument, "the cap '\(name)' is \(cap) a second: the least is \(ByteCount(Int(RAY_RATE_MIN)))")
        }
        if let memory, memory <= .zero { throw RayStoreError(.invalidArgument, "the cap 'memory' is \(memory)") }
    }

    func set(_ options: inout ray_transfer_options) {
        func number(_ cap: ByteCount?) -> UInt64 { UInt64(clamping: cap?.bytes ?? 0) }
        options.memory_max_bytes = number(memory)
        options.send_rate_max_bytes = number(send)
        options.receive_rate_max_bytes = number(receive)
        options.urgency_rate_max_bytes = (
            number(urgency[.get]), number(urgency[.wait]), number(urgency[.prefetch]), number(urgency[.background])
        )
    }
}
