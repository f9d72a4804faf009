// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Reads the fields of a client's request in order: little-endian integers, ids, and texts with their length before them. The bytes come from
/// another process, so every read is checked.
struct RequestPayload {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    mutating func integer<Number: FixedWidthInteger>(_ type: Number.Type = Number.self) throws(RayStoreError) -> Number {
        let bytes = try take(MemoryLayout<Number>.size)
        return bytes.reversed().reduce(0) { $0 << 8 | Number($1) }
    }

    mutating func id() throws(RayStoreError) -> ObjectID {
        ObjectID(bytes: try take(28))!
    }

    mutating func ids() throws(RayStoreError) -> [ObjectID] {
        let count = Int(try integer(UInt32.self))
        guard count <= rest.count / 28 else { throw Self.malformed }
        var ids: [ObjectID] = []
        ids.reserveCapacity(count)
        for _ in 0..<count { ids.append(try id()) }
        return ids
    }

    /// Numbers of 8 bytes, with their count before them.
    mutating func words() throws(RayStoreError) -> [UInt64] {
        let bytes = try take(Int(try integer(UInt32.self)) * 8)
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / 8).map { UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
        }
    }

    mutating func text() throws(RayStoreError) -> String {
        let bytes = try take(Int(try integer(UInt32.self)))
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Self.malformed }
        return text
    }

    /// What stands at the end of a get, a wait, a read or a prefetch, or nothing.
    ///
    /// - Parameter urgency: of the request, unless the tuning has its own.
    mutating func tuning(_ urgency: TransferTuning.Urgency) throws(RayStoreError) -> TransferTuning {
        var tuning = TransferTuning()
        if !rest.isEmpty { tuning = try TransferTuning(encoded: try take(TransferTuning.encodedSize)) }
        tuning.urgency = tuning.urgency ?? urgency
        return tuning
    }

    private mutating func take(_ count: Int) throws(RayStoreError) -> ArraySlice<UInt8> {
        guard count <= rest.count else { throw Self.malformed }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    private static let malformed = RayStoreError(
        .protocolError, "a request is shorter than it says, or holds a text that is not UTF-8")
}
