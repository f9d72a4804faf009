// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// Objects of one file on their way back: their places in the store, and what a storage is to fill.
///
/// `@unchecked Sendable`: one task at a time works with it; the store gives the writers' memory to nobody else before they are sealed.
final class RestorePass: @unchecked Sendable {
    private struct Item {
        let id: ObjectID
        let record: SpillRecord
        var writer: ray_object_writer
        /// Lengths, owner and what is announced, which the store does not keep.
        let head: UnsafeMutableRawBufferPointer
        /// Why a packed one cannot be unpacked.
        var failure: RayStoreError?
        /// Of a packed one.
        var unpackedBlocks = 0
        /// Of the data, when it was summed up while it was read.
        var dataChecksum: UInt64?
    }

    /// Items that lie one after the other in the file, by their numbers.
    struct Run: Sendable {
        let items: Range<Int>
        let offset: UInt64
    }

    private let store: NodeStore
    private var items: [Item] = []

    init(in store: NodeStore) {
        self.store = store
    }

    deinit {
        for index in items.indices {
            abort(index)
            items[index].head.deallocate()
        }
    }

    var count: Int { items.count }

    func id(_ index: Int) -> ObjectID { items[index].id }

    func record(_ index: Int) -> SpillRecord { items[index].record }

    /// In the order in which they lie in the file; they may have been added in another.
    func sort() {
        items.sort { $0.record.location.offset < $1.record.location.offset }
    }

    /// Takes the object's place in the store.
    ///
    /// - Parameters:
    ///   - reservation: what was created for it; nil to create it now.
    ///   - index: has the record, unless the object has ended meanwhile.
    /// - Throws: `storeFull`; `exists` when the object is here, or not to come; `again` when the record is not the object's any more.
    func add(
        _ id: ObjectID, _ record: SpillRecord, into reservation: RoomReservation? = nil, listedIn index: SpillIndex
    ) throws(RayStoreError) {
        var writer = ray_object_writer()
        try RayStoreError.check(object: id) {
            if let reservation { return reservation.take(&writer).rawValue }
            return id.withC { ray_object_create(store.handle, &$0, record.dataSize, UInt32(record.metadataSize), 0, &writer) }
                .rawValue
        }
        items.append(
            Item(
                id: id, record: record, writer: writer,
                head: .allocate(byteCount: Int(record.headSize), alignment: 8)))
        // An object that ended before had no entry any more, and would have one again that nobody ends.
        guard index.record(of: id) == record else {
            dropLast()
            throw RayStoreError(.again, "the record of \(id) is not needed any more", object: id)
        }
    }

    private func dropLast() {
        abort(items.count - 1)
        items.removeLast().head.deallocate()
    }

    /// Gives up an object's place. Before anybody hears of its failure: who looks again at once must not take it for one that is being made.
    func abort(_ index: Int) {
        ray_object_abort(store.handle, &items[index].writer)
    }

    /// What can be read at once, in pieces of at most so many bytes, or of one record.
    func runs(upTo most: UInt64) -> [Run] {
        var runs: [Run] = []
        for index in items.indices {
            let location = items[index].record.location
            if let last = runs.last, case let before = items[index - 1].record.location,
                before.offset + before.size == location.offset,
                items[index - 1].record.isPacked == items[index].record.isPacked,
                location.offset + location.size - last.offset <= most
            {
                runs[runs.count - 1] = Run(items: last.items.lowerBound..<(index + 1), offset: last.offset)
            } else {
                runs.append(Run(items: index..<(index + 1), offset: location.offset))
            }
        }
        return runs
    }

    /// One by itself.
    func single(_ index: Int) -> Run {
        Run(items: index..<(index + 1), offset: items[index].record.location.offset)
    }

    func isPacked(_ run: Run) -> Bool { items[run.items.lowerBound].record.isPacked }

    /// What is read of packed ones.
    func extents(of run: Run) -> [PackedExtent] {
        run.items.flatMap { index in
            let record = items[index].record
            let prefix = Int(record.headSize + record.metadataSize)
            return [PackedExtent(item: index, block: nil, offset: record.location.offset, size: prefix)]
                + PackedExtent.frames(of: record, as: index, blocks: record.frames.indices)
        }
    }

    /// Unpacks one of them.
    func take(_ extent: PackedExtent, _ bytes: UnsafeRawBufferPointer, with codec: OpaquePointer) {
        let item = items[extent.item]
        guard let block = extent.block else {
            item.head.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<item.head.count]))
            UnsafeMutableRawBufferPointer(start: item.writer.metadata, count: Int(item.record.metadataSize))
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[item.head.count...]))
            items[extent.item].failure = nil
            items[extent.item].unpackedBlocks = 0
            return
        }
        guard item.failure == nil else { return }
        let place = item.writer.data.map { UnsafeMutableRawPointer($0) + block * Int(RAY_SPILL_SUM_BYTES) }
        items[extent.item].failure = extent.unpack(bytes, of: item.id, item.record, into: place!, with: codec)
        items[extent.item].unpackedBlocks += 1
    }

    func memory(of run: Run) -> SpillMemory {
        SpillMemory(
            run.items.flatMap { index in
                let item = items[index]
                return [
                    ray_spill_part(bytes: item.head.baseAddress, size: item.head.count),
                    ray_spill_part(bytes: item.writer.metadata, size: Int(item.record.metadataSize)),
                    ray_spill_part(bytes: item.writer.data, size: Int(item.record.dataSize)),
                ].filter { $0.size > 0 }
            })
    }

    /// Reads what lies in a file of this machine, and sums it up on the way. Blocks on the disk.
    func read(_ run: Run, fromFileAt path: String) throws(RayStoreError) {
        let parts = run.items.flatMap { index in
            let item = items[index]
            return [
                ray_spill_part(bytes: item.head.baseAddress, size: item.head.count),
                ray_spill_part(bytes: item.writer.metadata, size: Int(item.record.metadataSize)),
                ray_spill_part(bytes: item.writer.data, size: Int(item.record.dataSize)),
            ]
        }
        var checksums = [UInt64](repeating: 0, count: run.items.count)
        try RayStoreError.check {
            ray_spill_read_records(path, run.offset, parts, UInt32(run.items.count), &checksums).rawValue
        }
        for (index, checksum) in zip(run.items, checksums) { items[index].dataChecksum = checksum }
    }

    /// Makes sure that what was read is what was laid down, and shows it to everybody. Blocks as long as reading the data takes, unless it was summed
    /// up before.
    ///
    /// - Returns: of each `corrupt`; why the object has ended meanwhile. It has its place then, and can be read once more.
    func seal(_ run: Run) -> [Result<Void, RayStoreError>] {
        run.items.map { item in Result { () throws(RayStoreError) in try seal(item) } }
    }

    private func seal(_ index: Int) throws(RayStoreError) {
        let item = items[index]
        if let failure = item.failure { throw failure }
        guard isIntact(item) else {
            throw RayStoreError(.corrupt, "its bytes are not those that were laid down", object: item.id)
        }
        try RayStoreError.check(object: item.id) { ray_object_seal(store.handle, &items[index].writer).rawValue }
    }

    private func isIntact(_ item: Item) -> Bool {
        var lengths = ray_spill_lengths()
        let head = item.head.assumingMemoryBound(to: UInt8.self).baseAddress!
        let record = item.record
        return ray_spill_lengths_read(head, record.location.size, &lengths) == .ok && lengths.owner_size == record.ownerSize
            && lengths.metadata_size == record.announcedSize + record.metadataSize
            && lengths.data_size == record.location.size - record.headSize - record.metadataSize
            && (record.announcedSize == 0 || announces(record, head + Int(record.headSize - record.announcedSize)))
            && ray_spill_matches(item.writer.metadata, record.metadataSize, record.metadataChecksum)
            // The blocks of a packed one were compared when they were unpacked.
            && (record.isPacked ? item.unpackedBlocks == record.frames.count : matches(item))
    }

    private func matches(_ item: Item) -> Bool {
        let wanted = item.record.location.checksum ?? 0
        if let checksum = item.dataChecksum { return checksum == wanted }
        return ray_spill_matches(item.writer.data, item.record.dataSize, wanted)
    }

    private func announces(_ record: SpillRecord, _ announced: UnsafePointer<UInt8>) -> Bool {
        record.frames.withUnsafeBufferPointer {
            ray_spill_announces(announced, record.announcedSize, record.dataSize, $0.baseAddress, UInt32($0.count))
        }
    }
}
