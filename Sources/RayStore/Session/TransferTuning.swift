// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// How an object or a file is transferred, for those who want to fix what is otherwise chosen by itself.
///
/// ```swift
/// let model = try await session.get(ref, tuning: .init(codec: .zstd(level: 3), rateCap: .mebibytes(50)))
/// ```
///
/// It concerns what has to come from another node; what is here is given as it is. All who want an object at the same time share one
/// transfer: the first one's tuning holds, and who comes later makes it at most more urgent.
///
/// **Caveats**: in `get` of a list, `window` and `rateCap` hold for each object by itself.
public struct TransferTuning: Hashable, Sendable, Codable {
    /// How chunks are packed for the way.
    public enum Codec: Hashable, Sendable, Codable {
        /// What brings each chunk soonest, as measured on link, data and cores.
        case automatic
        /// As they are.
        case none
        case lz4
        /// Level -5 (fast) to 9 (strong).
        case zstd(level: Int = 3)
    }

    /// Why the data is wanted. While something more urgent moves, the less urgent share one byte of ten.
    public enum Urgency: String, Hashable, Sendable, Codable, CaseIterable, Comparable {
        /// Somebody needs the value to go on.
        case get
        /// Somebody waits for one of several.
        case wait
        /// It will be needed.
        case prefetch
        /// It can wait for everybody else.
        case background

        package var number: UInt16 { UInt16(Self.allCases.firstIndex(of: self)!) }

        /// The more urgent is less, as it comes first.
        public static func < (a: Urgency, b: Urgency) -> Bool { a.number < b.number }
    }

    public var codec: Codec
    /// A power of two from 64 KiB to 4 MiB; nil for 4 MiB. Smaller chunks suit slow links and low caps.
    public var chunkSize: ByteCount?
    /// Connections to each place that has the data, 1 to 16; nil for the node's.
    public var connections: Int?
    /// What may be asked for and not yet have arrived, for each place that has the data; nil for the node's, 64 MiB.
    public var window: ByteCount?
    /// Bytes a second, before packing; nil for no cap but the node's own.
    public var rateCap: ByteCount?
    /// Nil for that of the call: a get's is `.get`, a wait's `.wait`.
    public var urgency: Urgency?

    public init(
        codec: Codec = .automatic, chunkSize: ByteCount? = nil, connections: Int? = nil, window: ByteCount? = nil,
        rateCap: ByteCount? = nil, urgency: Urgency? = nil
    ) {
        self.codec = codec
        self.chunkSize = chunkSize
        self.connections = connections
        self.window = window
        self.rateCap = rateCap
        self.urgency = urgency
    }

    /// - Throws: `invalidArgument` naming the field that is not possible.
    package func check() throws(RayStoreError) {
        if case .zstd(let level) = codec, !(Int(RAY_ZSTD_LEVEL_MIN)...Int(RAY_ZSTD_LEVEL_MAX)).contains(level) {
            throw Self.refused("codec", "zstd's level \(level) is not from \(RAY_ZSTD_LEVEL_MIN) to \(RAY_ZSTD_LEVEL_MAX)")
        }
        if let size = chunkSize {
            let isPower = size.bytes > 0 && size.bytes & (size.bytes - 1) == 0
            guard isPower, (Int(RAY_CHUNK_SIZE_MIN)...Int(RAY_CHUNK_SIZE)).contains(size.bytes) else {
                throw Self.refused("chunkSize", "\(size) is not a power of two from 64 KiB to 4 MiB")
            }
        }
        if let connections, !(1...16).contains(connections) {
            throw Self.refused("connections", "\(connections) is not from 1 to 16")
        }
        if let window, window <= .zero { throw Self.refused("window", "\(window) is not more than nothing") }
        if let rateCap, rateCap <= .zero { throw Self.refused("rateCap", "\(rateCap) a second is not more than nothing") }
    }

    private static func refused(_ field: String, _ why: String) -> RayStoreError {
        RayStoreError(.invalidArgument, "the tuning's \(field) is not possible: \(why)")
    }
}

/// As client.h lays it out: codec u16, urgency u16, zstd level i32, connections u32, chunk size u32, window u64, rate cap u64. Zero stands for what
/// is not given, 65535 for no urgency.
extension TransferTuning {
    package static let encodedSize = 32

    package var codecNumber: UInt16 {
        switch codec {
        case .automatic: UInt16(RAY_CODEC_AUTO)
        case .none: UInt16(RAY_CODEC_NONE)
        case .lz4: UInt16(RAY_CODEC_LZ4)
        case .zstd: UInt16(RAY_CODEC_ZSTD)
        }
    }

    package var level: Int32 {
        if case .zstd(let level) = codec { Int32(clamping: level) } else { 0 }
    }

    /// Nothing for one that fixes nothing.
    package func append(to payload: inout PayloadWriter) {
        guard self != TransferTuning() else { return }
        payload.append(codecNumber)
        payload.append(urgency?.number ?? UInt16.max)
        payload.append(level)
        payload.append(UInt32(clamping: connections ?? 0))
        payload.append(UInt32(clamping: chunkSize?.bytes ?? 0))
        payload.append(UInt64(clamping: window?.bytes ?? 0))
        payload.append(UInt64(clamping: rateCap?.bytes ?? 0))
    }

    /// - Throws: `protocolError` when the bytes are not that; `invalidArgument` naming a field that is not possible.
    package init(encoded bytes: some Collection<UInt8>) throws(RayStoreError) {
        var reader = PayloadReader(bytes)
        guard let codec = reader.integer(UInt16.self), let urgency = reader.integer(UInt16.self),
            let level = reader.integer(Int32.self), let connections = reader.integer(UInt32.self),
            let chunkSize = reader.integer(UInt32.self), let window = reader.integer(UInt64.self),
            let rateCap = reader.integer(UInt64.self), reader.remaining == 0,
            urgency == UInt16.max || urgency < Urgency.allCases.count, codec <= UInt16(RAY_CODEC_ZSTD)
        else { throw RayStoreError(.protocolError, "a tuning of \(bytes.count) bytes that is none") }
        let codecs: [Codec] = [.automatic, .none, .lz4, .zstd(level: Int(level))]
        self.init(
            codec: codecs[Int(codec)], chunkSize: chunkSize == 0 ? nil : ByteCount(Int(chunkSize)),
            connections: connections == 0 ? nil : Int(connections), window: window == 0 ? nil : ByteCount(Int(clamping: window)),
            rateCap: rateCap == 0 ? nil : ByteCount(Int(clamping: rateCap)),
            urgency: urgency == UInt16.max ? nil : Urgency.allCases[Int(urgency)])
        try check()
    }
}
