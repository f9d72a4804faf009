// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// The data of records in a storage, read block by block for whoever asks synchronously; each block is found to be right before anybody has it.
final class RecordSource: Sendable {
    private static let blockBytes = UInt64(RAY_SPILL_SUM_BYTES)

    /// Of all of it.
    let size: UInt64
    private let id: ObjectID
    private let records: [SpillRecord]
    private let blocksInRecord: Int
    private let storage: any DirectStorage
    private let explain: @Sendable (SpillRecord, RayStoreError) -> RayStoreError
    private let kept: KeptBlocks
    private let number: UInt64

    /// - Parameters:
    ///   - records: one after the other they hold the data; all but the last have as many bytes of it, whole blocks.
    ///   - explain: told of a record that cannot be read, and why; answers what to say of it.
    init(
        _ id: ObjectID, _ records: [SpillRecord], in storage: any DirectStorage, keeping kept: KeptBlocks,
        explain: @escaping @Sendable (SpillRecord, RayStoreError) -> RayStoreError
    ) {
        self.id = id
        self.records = records
        self.storage = storage
        self.explain = explain
        self.kept = kept
        number = kept.makeSource()
        size = records.reduce(0) { $0 + $1.dataSize }
        blocksInRecord = max(1, records.first?.blockSums.count ?? 1)
    }

    deinit {
        kept.forget(number)
    }

    /// Fills the place with the data from the offset on. Blocks on the storage.
    func read(from offset: UInt64, into place: UnsafeMutableRawBufferPointer) throws(RayStoreError) {
        var offset = offset
        var rest = place[...]
        while !rest.isEmpty {
            let block = Int(offset / Self.blockBytes)
            let begin = UInt64(block) * Self.blockBytes
            let count = Int(min(Self.blockBytes, size - begin))
            let skip = Int(offset - begin)
            let some = UnsafeMutableRawBufferPointer(rebasing: rest.prefix(count - skip))
            if some.count == count {
                try read(block, into: some)
            } else {
                let whole = try keep(block, count)
                some.copyMemory(from: UnsafeRawBufferPointer(rebasing: whole.bytes[skip..<(skip + some.count)]))
            }
            offset += UInt64(some.count)
            rest = rest.dropFirst(some.count)
        }
    }

    private func keep(_ block: Int, _ count: Int) throws(RayStoreError) -> BlockBuffer {
        try kept.bytes(block, of: number) { () throws(RayStoreError) in
            let whole = BlockBuffer(count: count)
            try read(block, into: whole.bytes)
            return whole
        }
    }

    private func read(_ block: Int, into place: UnsafeMutableRawBufferPointer) throws(RayStoreError) {
        let record = records[block / blocksInRecord]
        do throws(RayStoreError) {
            do throws(RayStoreError) {
                try readOnce(block % blocksInRecord, of: record, into: place)
            } catch {
                guard record.isWorthAnotherRead(after: error) else { throw error }
                try readOnce(block % blocksInRecord, of: record, into: place)
            }
        } catch {
            throw explain(record, error)
        }
    }

    private func readOnce(_ block: Int, of record: SpillRecord, into place: UnsafeMutableRawBufferPointer) throws(RayStoreError) {
        let file = record.location.file
        if record.isPacked {
            let extent = PackedExtent.frames(of: record, as: 0, blocks: block..<(block + 1))[0]
            let frame = BlockBuffer(count: extent.size)
            try storage.restoreHere(file, from: extent.offset, into: SpillMemory(unsafePieces: [frame.bytes]))
            let failure = try PackedExtent.withCodec { codec in
                extent.unpack(UnsafeRawBufferPointer(frame.bytes), of: id, record, into: place.baseAddress!, with: codec)
            }
            if let failure { throw failure }
            return
        }
        let offset = record.dataOffset + UInt64(block) * Self.blockBytes
        try storage.restoreHere(file, from: offset, into: SpillMemory(unsafePieces: [place]))
        guard ray_spill_matches(place.baseAddress, UInt64(place.count), record.blockSums[block]) else {
            throw RayStoreError(.corrupt, "the \(place.count) bytes at byte \(offset) of the file were altered", object: id)
        }
    }
}
