// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore
internal import RayStoreNode

/// The options of `start` and `serve` that say what may be taken of the network.
struct CapsChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp("Send at most so many bytes a second, such as 100MiB. (default: no limit)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var sendRateLimit: ByteSize?

    @Option(
        help: ArgumentHelp("Receive at most so many bytes a second. (default: no limit)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var receiveRateLimit: ByteSize?

    @Option(
        help: ArgumentHelp(
            """
            Send and receive at most so many bytes a second in a class of urgency: get, wait, prefetch or background, such as \
            background=10MiB. May be given again.
            """, valueName: "class=size"),
        transform: { text in try ClassLimit(text) })
    var classRateLimit: [ClassLimit] = []

    @Option(
        help: ArgumentHelp("Memory for all that is on its way. (default: 512MiB)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var transferMemory: ByteSize?

    struct ClassLimit: Sendable {
        let urgency: TransferTuning.Urgency
        let limit: ByteSize

        init(_ text: String) throws {
            guard let equals = text.firstIndex(of: "=") else {
                throw ValidationError("it is not a class and a size; give them as in background=10MiB")
            }
            urgency = try TuningChoice.urgency(String(text[..<equals]))
            limit = try ByteSize.parse(String(text[text.index(after: equals)...]))
        }
    }

    var caps: TransferCaps {
        var caps = TransferCaps(
            send: sendRateLimit.map { ByteCount($0.bytes) }, receive: receiveRateLimit.map { ByteCount($0.bytes) })
        for limit in classRateLimit { caps.urgency[limit.urgency] = ByteCount(limit.limit.bytes) }
        caps.memory = transferMemory.map { ByteCount($0.bytes) }
        return caps
    }

    func validate() throws {
        do throws(RayStoreError) {
            try caps.check()
        } catch {
            throw ValidationError(error.message)
        }
    }
}

extension TransferCaps {
    /// The options that say the same.
    var arguments: [String] {
        var words: [String] = []
        if let send { words += ["--send-rate-limit", String(send.bytes)] }
        if let receive { words += ["--receive-rate-limit", String(receive.bytes)] }
        for (urgency, cap) in urgency.sorted(by: { $0.key < $1.key }) {
            words += ["--class-rate-limit", "\(urgency.rawValue)=\(cap.bytes)"]
        }
        if let memory { words += ["--transfer-memory", String(memory.bytes)] }
        return words
    }
}
