// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
public import RayStore

/// Records of objects that are to become one file, as they lie in the store's memory.
///
/// The memory stays as it is for as long as the call that was given the batch runs, and not longer: a storage must not keep it.
///
/// `@unchecked Sendable`: the memory is only read, and held by whoever made the batch.
public struct SpillBatch: @unchecked Sendable {
    /// What the file should be called: the first object's id in hex, `-multi-`, the number of records.
    public let name: String

    /// The sizes of the records, in order.
    public let recordSizes: [UInt64]

    /// `RAY_SPILL_PARTS` for each record.
    private let parts: UnsafeBufferPointer<ray_spill_part>

    /// Has the bytes of those that are not in memory; nil when all are.
    let packed: CHandle?

    /// Is given the bytes of parts in their order, for the checksums; nil when there are all of these.
    let summing: CHandle?

    init(
        name: String, recordSizes: [UInt64], parts: UnsafeBufferPointer<ray_spill_part>, packed: CHandle? = nil,
        summing: CHandle? = nil
    ) {
        self.name = name
        self.recordSizes = recordSizes
        self.parts = parts
        self.packed = packed
        self.summing = summing
    }

    /// Makes the checksums of what was not given to `summing`. Blocks as long as reading that takes.
    func finishSums() {
        ray_spill_summing_end(summing?.pointer)
    }

    public var recordCount: Int { recordSizes.count }

    public var byteCount: UInt64 { byteCount(ofFirst: recordCount) }

    public func byteCount(ofFirst count: Int) -> UInt64 {
        recordSizes.prefix(count).reduce(0, +)
    }

    /// Copies bytes from this place of the file on, as many as the buffer has: the way to them for a storage that says `takesBytesByRange`.
    ///
    /// - Throws: `invalidArgument` for bytes beyond the end; `sourceChanged` when an object's bytes changed while it was spilled.
    public func copyBytes(from offset: UInt64, intoUnsafe buffer: UnsafeMutableRawBufferPointer) throws(RayStoreError) {
        var offset = offset
        var rest = buffer[...]
        for (number, part) in parts.enumerated() where !rest.isEmpty {
            guard offset < UInt64(part.size) else {
                offset -= UInt64(part.size)
                continue
            }
            let some = UnsafeMutableRawBufferPointer(rebasing: rest.prefix(part.size - Int(offset)))
            if let bytes = part.bytes {
                some.copyMemory(from: UnsafeRawBufferPointer(start: bytes + Int(offset), count: some.count))
            } else if let packed {
                try RayStoreError.check {
                    ray_spill_packed_read(packed.pointer, UInt32(number), offset, some.baseAddress!, some.count).rawValue
                }
            }
            rest = rest.dropFirst(some.count)
            offset = 0
        }
        guard rest.isEmpty else {
            throw RayStoreError(.invalidArgument, "\(buffer.count) bytes reach beyond the end of a batch of \(byteCount)")
        }
    }

    /// Calls the body with each piece of the first records, in the order in which they lie in the file. Pieces are from 24 bytes to
    /// the size of an object; none is empty. Not for storages that say `takesBytesByRange`, which may have to do with bytes that lie in no memory.
    public func withUnsafePieces<Result>(
        ofFirst count: Int, _ body: ([UnsafeRawBufferPointer]) throws(RayStoreError) -> Result
    ) throws(RayStoreError) -> Result {
        try body(
            parts(ofFirst: count).compactMap {
                $0.size == 0 ? nil : UnsafeRawBufferPointer(start: $0.bytes, count: $0.size)
            })
    }

    /// A copy of the first records, for storages that need one.
    public func copy(ofFirst count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(byteCount(ofFirst: count)))
        for part in parts(ofFirst: count) { bytes += UnsafeRawBufferPointer(start: part.bytes, count: part.size) }
        return bytes
    }

    func parts(ofFirst count: Int) -> UnsafeBufferPointer<ray_spill_part> {
        UnsafeBufferPointer(rebasing: parts[..<(count * Int(RAY_SPILL_PARTS))])
    }
}

extension SpillBatch {
    /// A batch of the first records only, under a name that says so.
    public func first(_ count: Int) -> SpillBatch {
        SpillBatch(
            name: name.prefix { $0 != "-" } + "-multi-\(count)", recordSizes: Array(recordSizes.prefix(count)),
            parts: parts(ofFirst: count), packed: packed, summing: summing)
    }
}
