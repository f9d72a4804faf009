// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
public import RayStore

/// Memory that a storage fills with a range of a file: a few pieces, one after the other in the file.
///
/// The memory stays for as long as the call that was given it runs, and not longer. What is in it after a failure does not matter.
///
/// `@unchecked Sendable`: nobody else touches the memory while the call runs.
public struct SpillMemory: @unchecked Sendable {
    let parts: [ray_spill_part]

    public let byteCount: UInt64

    init(_ parts: [ray_spill_part]) {
        self.parts = parts
        byteCount = parts.reduce(0) { $0 + UInt64($1.size) }
    }

    /// Calls the body with the pieces to fill.
    public func withUnsafePieces<Result>(
        _ body: ([UnsafeMutableRawBufferPointer]) throws(RayStoreError) -> Result
    ) throws(RayStoreError) -> Result {
        try body(parts.map { UnsafeMutableRawBufferPointer(start: $0.bytes, count: $0.size) })
    }

    /// Writes bytes at this place of it, for storages that have them elsewhere first.
    ///
    /// - Throws: `invalidArgument` for bytes that reach beyond the end.
    public func write(_ bytes: [UInt8], at offset: UInt64) throws(RayStoreError) {
        guard offset <= byteCount, UInt64(bytes.count) <= byteCount - offset else {
            throw RayStoreError(
                .invalidArgument, "\(bytes.count) bytes at \(offset) reach beyond the \(byteCount) bytes that were asked for")
        }
        var skip = Int(offset)
        var rest = bytes[...]
        for part in parts where !rest.isEmpty {
            guard skip < part.size else {
                skip -= part.size
                continue
            }
            let room = UnsafeMutableRawBufferPointer(start: part.bytes, count: part.size)
            let count = min(rest.count, part.size - skip)
            room[skip..<(skip + count)].copyBytes(from: rest.prefix(count))
            rest = rest.dropFirst(count)
            skip = 0
        }
    }
}

extension SpillMemory {
    /// Memory in these pieces.
    package init(unsafePieces pieces: [UnsafeMutableRawBufferPointer]) {
        self.init(pieces.map { ray_spill_part(bytes: $0.baseAddress, size: $0.count) })
    }
}
