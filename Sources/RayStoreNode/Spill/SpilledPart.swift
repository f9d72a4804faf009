// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// A part of a spilled object on its way into an object of its own: its place in the store, and what a storage is to fill.
///
/// Blocks that the part has only a piece of are read whole, since only a whole block can be told to be right.
///
/// `@unchecked Sendable`: one task at a time works with it; the store gives the writer's memory to nobody else before it is sealed.
final class SpilledPart: @unchecked Sendable {
    /// Of the part.
    let size: UInt64

    private let record: SpillRecord
    private let id: ObjectID
    private let store: NodeStore
    private var writer: ray_object_writer?
    /// Where the blocks begin in the data.
    private let from: UInt64
    /// What is read and not wanted: before the part, and behind it.
    private let around: UnsafeMutableRawBufferPointer
    private let before: Int
    /// The part in the data, and the blocks that hold it.
    private let wanted: Range<UInt64>
    private let blocks: Range<UInt64>
    /// Why a packed one cannot be unpacked.
    private var failure: RayStoreError?
    private var unpackedBlocks = 0

    /// - Parameter reservation: what was created for it; nil to create it now.
    /// - Throws: `storeFull`.
    init(
        _ range: ByteRange, of record: SpillRecord, as id: ObjectID, in store: NodeStore, into reservation: RoomReservation? = nil
    ) throws(RayStoreError) {
        let size = range.count(of: record.dataSize)
        var made = ray_object_writer()
        try RayStoreError.check(object: id) {
            if let reservation { return reservation.take(&made).rawValue }
            return id.withC { ray_object_create(store.handle, &$0, size, UInt32(record.metadataSize), 0, &made) }.rawValue
        }
        let begin = min(range.offset, record.dataSize)
        let blocks = Self.blocks(of: range, in: record)
        from = blocks.lowerBound
        before = Int(begin - from)
        wanted = begin..<(begin + size)
        self.blocks = blocks
        // A packed one is read by the frame.
        around = .allocate(byteCount: record.isPacked ? 0 : blocks.count - Int(size), alignment: 64)
        writer = made
        self.size = size
        self.record = record
        self.id = id
        self.store = store
    }

    deinit {
        if var writer { ray_object_abort(store.handle, &writer) }
        around.deallocate()
    }

    /// What has to be read of the data.
    static func blocks(of range: ByteRange, in record: SpillRecord) -> Range<UInt64> {
        var from = min(range.offset, record.dataSize)
        var size = range.count(of: record.dataSize)
        ray_spill_blocks(record.dataSize, &from, &size)
        return from..<(from + size)
    }

    private var pieces: [ray_spill_part] {
        guard let writer, !record.isPacked else { return [] }
        return [
            ray_spill_part(bytes: around.baseAddress, size: before),
            ray_spill_part(bytes: writer.data, size: Int(size)),
            ray_spill_part(bytes: around.baseAddress.map { $0 + before }, size: around.count - before),
        ].filter { $0.size > 0 }
    }

    /// What the storage is to read: the metadata, then the blocks.
    var reads: [(offset: UInt64, memory: SpillMemory)] {
        let metadata = [ray_spill_part(bytes: writer?.metadata, size: Int(record.metadataSize))].filter { $0.size > 0 }
        return [
            (record.metadataOffset, SpillMemory(metadata)), (record.dataOffset + from, SpillMemory(pieces)),
        ].filter { $0.memory.byteCount > 0 }
    }

    /// It is read from here on, for the first time or once more.
    func begin() {
        failure = nil
        unpackedBlocks = 0
    }

    /// The frames of a packed one.
    var extents: [PackedExtent] {
        PackedExtent.frames(of: record, as: 0, blocks: wantedBlocks)
    }

    private var wantedBlocks: Range<Int> {
        let blockSize = UInt64(RAY_SPILL_SUM_BYTES)
        return blocks.isEmpty
            ? 0..<0 : Int(blocks.lowerBound / blockSize)..<Int((blocks.upperBound + blockSize - 1) / blockSize)
    }

    /// Unpacks a frame; what is not wanted of its block goes to memory of its own.
    func take(_ extent: PackedExtent, _ bytes: UnsafeRawBufferPointer, of object: ObjectID, with codec: OpaquePointer) {
        guard let block = extent.block, let place = writer?.data.map({ UnsafeMutableRawPointer($0) }), failure == nil else {
            return
        }
        let begin = UInt64(block) * UInt64(RAY_SPILL_SUM_BYTES)
        let end = min(begin + UInt64(RAY_SPILL_SUM_BYTES), record.dataSize)
        unpackedBlocks += 1
        if wanted.lowerBound <= begin, end <= wanted.upperBound {
            failure = extent.unpack(bytes, of: object, record, into: place + Int(begin - wanted.lowerBound), with: codec)
            return
        }
        let whole = UnsafeMutableRawPointer.allocate(byteCount: Int(end - begin), alignment: 64)
        defer { whole.deallocate() }
        failure = extent.unpack(bytes, of: object, record, into: whole, with: codec)
        let some = wanted.clamped(to: begin..<end)
        (place + Int(some.lowerBound - wanted.lowerBound)).copyMemory(
            from: whole + Int(some.lowerBound - begin), byteCount: some.count)
    }

    /// Makes sure that what was read is what was laid down, and shows the part to everybody. Blocks as long as reading it takes.
    ///
    /// - Throws: `corrupt` naming the byte of the file.
    func seal() throws(RayStoreError) {
        guard var made = writer else { return }
        if let failure { throw failure }
        guard !record.isPacked || unpackedBlocks == wantedBlocks.count else {
            throw RayStoreError(.corrupt, "it has \(unpackedBlocks) of \(wantedBlocks.count) blocks", object: id)
        }
        let pieces = pieces
        var altered: UInt64 = 0
        let isIntact = record.blockSums.withUnsafeBufferPointer { sums in
            pieces.isEmpty || ray_spill_blocks_match(pieces, UInt32(pieces.count), from, sums.baseAddress!, &altered)
        }
        guard isIntact, ray_spill_matches(made.metadata, record.metadataSize, record.metadataChecksum) else {
            let byte = isIntact ? record.metadataOffset : record.dataOffset + altered
            throw RayStoreError(.corrupt, "it was altered at byte \(byte) of the file, or soon after it", object: id)
        }
        try RayStoreError.check(object: id) { ray_object_seal(store.handle, &made).rawValue }
        writer = nil
    }
}
