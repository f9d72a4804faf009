// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import Synchronization

/// Ties files to their objects: a file on this node lives as long as its object's entry in the store.
///
/// An object that is a file has its descriptor as its data. Ending the object deletes that value; the file goes when nobody has the value
/// pinned any more, because whoever has it pinned may have the path in hand.
final class FileKeeper: Sendable {
    private struct Contents {
        var kept: [ObjectID: FileDescriptor] = [:]
        /// When what is kept came, in the order of their coming.
        var arrivals: [ObjectID: Arrival] = [:]
        var arrivalCount: UInt64 = 0
        var dropped = DroppedFiles()
        var retiring: [ObjectID: FileDescriptor] = [:]
        var removals: [ObjectID: Task<Void, Never>] = [:]
        var keepsPartials = false
    }

    let room: DiskRoom
    private let files: FileStore
    private let store: NodeStore
    private let catalog: Catalog
    private let sums: FileSums
    private let log: Logger
    private let contents = Mutex(Contents())

    init(files: FileStore, room: DiskRoom, store: NodeStore, catalog: Catalog, sums: FileSums, log: Logger) {
        self.files = files
        self.room = room
        self.store = store
        self.catalog = catalog
        self.sums = sums
        self.log = log
    }

    /// When nothing more happens to files: the directory is given up.
    func close() async {
        let files = files
        try? await runBlocking { files.close() }
    }

    func has(_ id: ObjectID) -> Bool {
        contents.withLock { $0.kept[id] != nil }
    }

    func descriptor(of id: ObjectID) -> FileDescriptor? {
        contents.withLock { $0.kept[id] }
    }

    /// The file under way to this node.
    func partialPath(_ id: ObjectID) -> String {
        files.partialPath(id)
    }

    /// What came in part in an earlier life of the node.
    var left: LeftPartials { files.left }

    /// The node ends: what has come of files stays for its next life.
    func keepPartials() {
        contents.withLock { $0.keepsPartials = true }
    }

    /// Removes what a pull has left, when nobody goes on with it.
    func discardPartial(_ id: ObjectID) async {
        guard !contents.withLock({ $0.keepsPartials }) else { return }
        let files = files
        try? await runBlocking { () throws(RayStoreError) in files.discardPartial(id) }
    }

    /// Makes a file an object: takes it, seals its descriptor, serves it. Waits for room on the disk, where room can come.
    func take(_ path: String, as origin: FileStore.Origin, for id: ObjectID) async throws(RayStoreError) -> FileDescriptor {
        let descriptor = try await takeInTurn(path, as: origin, for: id)
        try await keep(descriptor, as: id, metadata: FileDescriptor.metadata)
        return descriptor
    }

    /// Without room what takes none may be done all the same, a reflink or a move.
    private func takeInTurn(
        _ path: String, as origin: FileStore.Origin, for id: ObjectID
    ) async throws(RayStoreError) -> FileDescriptor {
        let files = files
        let admission = DiskAdmission(id, in: room)
        defer { admission.end() }
        while true {
            do throws(RayStoreError) {
                return try await runBlocking { () throws(RayStoreError) in
                    let size = origin == .reference ? 0 : try files.size(of: path, for: id)
                    let hasRoom = admission.open(size) == nil
                    return try files.take(path, as: origin, for: id, hasRoom: hasRoom)
                }
            } catch {
                guard error.code == .outOfDisk else { throw error }
                try await admission.await(after: error)
            }
        }
    }

    /// Makes a file that has just been pulled an object of this node too; one that was moved to the storage is what it was before.
    func placePulled(_ id: ObjectID, metadata: [UInt8], descriptor bytes: [UInt8]) async throws(RayStoreError) {
        let origin = moved[id]?.descriptor.origin ?? .pulled
        let files = files
        // An earlier copy on its way out has the same place.
        await contents.withLock { $0.removals[id] }?.value
        let sent = try FileDescriptor(decoding: bytes)
        let placed = try await runBlocking { () throws(RayStoreError) in try files.place(id, like: sent, as: origin) }
        try await keep(placed, as: id, metadata: metadata)
    }

    /// Removes such a file. What a pull has left goes by `discardPartial`, which minds who else is at it.
    func removePartial(_ id: ObjectID) async {
        let files = files
        try? await runBlocking { () throws(RayStoreError) in files.removePartial(id) }
    }

    /// An empty file to fill, where this object's is made.
    func makePartial(_ id: ObjectID) async throws(RayStoreError) -> PartialFile {
        let files = files
        return try await runBlocking { () throws(RayStoreError) in try PartialFile(path: files.partialPath(id)) }
    }

    /// Makes a file that was brought back an object's file again.
    func placeRestored(_ id: ObjectID, _ file: MovedFile) async throws(RayStoreError) {
        let files = files
        await contents.withLock { $0.removals[id] }?.value
        let placed = try await runBlocking { () throws(RayStoreError) in
            try files.place(id, like: file.descriptor, as: file.descriptor.origin)
        }
        try await keep(placed, as: id, metadata: file.metadata)
    }

    /// A moved file's object has ended.
    func forgetMoved(_ id: ObjectID) {
        contents.withLock { contents in
            contents.removals[id] = Task {
                let files = files
                try? await runBlocking { () throws(RayStoreError) in try files.forget(id) }
                self.contents.withLock { $0.removals[id] = nil }
            }
        }
    }

    private func keep(_ descriptor: FileDescriptor, as id: ObjectID, metadata: [UInt8]) async throws(RayStoreError) {
        let sums = sums
        try? await runBlocking { sums.noteArrival(of: id, descriptor) }
        let encoded: [UInt8]
        do throws(RayStoreError) {
            encoded = try descriptor.encoded()
            try store.put(id, data: encoded, metadata: metadata)
        } catch {
            await remove(descriptor, of: id)
            throw error
        }
        let (tick, now) = (store.entry(of: id)?.accessTick ?? 0, room.now)
        contents.withLock { contents in
            contents.kept[id] = descriptor
            contents.arrivalCount += 1
            contents.arrivals[id] = Arrival(tick: tick, number: contents.arrivalCount, time: now)
        }
        catalog.serve(
            Catalog.ServedFile(
                path: descriptor.path, size: descriptor.size, modifiedNanoseconds: descriptor.modifiedNanoseconds,
                metadata: metadata, descriptor: encoded),
            as: id)
    }

    /// All checksums of the file are known now.
    func keepSums(of id: ObjectID) async {
        guard let descriptor = descriptor(of: id) else { return }
        let sums = sums
        _ = try? await runBlocking { sums.keep(id, descriptor) }
    }

    /// A file that was put by reference is another's to change: whoever gets it hears of it.
    func checkUnchanged(_ id: ObjectID) throws(RayStoreError) {
        guard let descriptor = descriptor(of: id), descriptor.origin == .reference else { return }
        try descriptor.checkUnchanged()
    }

    func setDetached(_ id: ObjectID, _ isDetached: Bool) throws(RayStoreError) {
        if has(id) { try files.setDetached(id, isDetached) }
    }

    /// Ends the local value; the file goes now, or when its last reader lets go.
    func retire(_ id: ObjectID, failure: RayStoreError.Code) {
        contents.withLock { contents in
            contents.retiring[id] = contents.kept.removeValue(forKey: id)
            contents.arrivals[id] = nil
        }
        // Deleted first: a watch on what is still sealed would be answered at once.
        store.delete(id, failure: failure)
        store.watch(id)
        attend(to: id)
    }

    /// Looks whether a file that is to go can go.
    func attend(to id: ObjectID) {
        let isFree =
            switch store.entry(of: id)?.state {
            case .deleting, .sealed: false
            default: true
            }
        guard isFree else { return }
        contents.withLock { contents in
            guard let descriptor = contents.retiring.removeValue(forKey: id) else { return }
            contents.removals[id] = Task {
                await remove(descriptor, of: id)
                store.disown(id)
                self.contents.withLock { $0.removals[id] = nil }
            }
        }
    }

    /// Waits for the removals under way; and removes what readers still hold, for the node that serves them ends.
    func awaitRemovals() async {
        let (held, removals) = contents.withLock { contents in
            defer { contents.retiring = [:] }
            return (contents.retiring, Array(contents.removals.values))
        }
        for (id, descriptor) in held { await remove(descriptor, of: id) }
        for removal in removals { await removal.value }
    }

    private func remove(_ descriptor: FileDescriptor, of id: ObjectID, movedTo place: String? = nil) async {
        let (files, sums) = (files, sums)
        do throws(RayStoreError) {
            try await runBlocking { () throws(RayStoreError) in
                defer { sums.noteRemoval(of: id) }
                if let place {
                    try files.remove(descriptor, of: id, movedTo: place)
                } else {
                    try files.remove(descriptor, of: id)
                }
            }
        } catch {
            // The catalogue still lists it, so the next start of the node tries again.
            log.warning("a file was not removed", metadata: ["path": "\(descriptor.path)", "reason": "\(error.message)"])
        }
    }

    /// How many files are here or on their way out.
    var count: Int {
        contents.withLock { $0.kept.count + $0.retiring.count + $0.removals.count }
    }

    var all: [ObjectID: FileDescriptor] {
        contents.withLock { $0.kept }
    }

    // MARK: Copies that make room

    /// The copies that were pulled, least recently used first. The store's clock of uses moves with each create: what was got since the
    /// same create counts as used at the same time.
    var copiesByUse: [ObjectID] { byUse(.pulled) }

    /// The same of those that came in another way.
    func byUse(_ origin: FileStore.Origin) -> [ObjectID] {
        let copies = contents.withLock { contents in
            contents.kept.compactMap { id, descriptor in
                descriptor.origin == origin ? contents.arrivals[id].map { (id: id, arrival: $0) } : nil
            }
        }
        return copies.map { copy in (copy.id, copy.arrival.lastUse(store.entry(of: copy.id)?.accessTick ?? 0)) }
            .sorted { $0.1 < $1.1 }.map(\.0)
    }

    /// When a file came, by the node's clock.
    func arrival(of id: ObjectID) -> Duration? {
        contents.withLock { $0.arrivals[id]?.time }
    }

    /// Removes a file whose value the store has given up already. Returns when it is gone.
    ///
    /// - Parameter place: where its bytes are in the storage; nil for a copy of another node's.
    func drop(_ id: ObjectID, movedTo place: String? = nil) async {
        let removal = contents.withLock { contents -> Task<Void, Never>? in
            guard let descriptor = contents.kept.removeValue(forKey: id) else { return nil }
            contents.arrivals[id] = nil
            if place == nil {
                contents.dropped.count += 1
                contents.dropped.bytes += descriptor.size
            }
            let removal = Task {
                await remove(descriptor, of: id, movedTo: place)
                self.contents.withLock { $0.removals[id] = nil }
            }
            contents.removals[id] = removal
            return removal
        }
        await removal?.value
    }

    /// What lies in the node's storage instead.
    var moved: MovedFiles { catalog.moved }

    /// What went for want of room, since the node's start.
    var dropped: DroppedFiles {
        contents.withLock { $0.dropped }
    }
}

/// File copies that were let go of to make room.
struct DroppedFiles: Sendable {
    var count: UInt64 = 0
    var bytes: UInt64 = 0
}

/// When a file became an object here.
private struct Arrival: Sendable {
    /// Of the store's clock of uses, when the descriptor was put.
    let tick: UInt64
    let number: UInt64
    let time: Duration

    /// In the order of uses. What was got after it came is later than what came last before that.
    func lastUse(_ accessTick: UInt64) -> LastUse {
        LastUse(tick: accessTick, isLater: accessTick > tick, number: number)
    }
}

private struct LastUse: Comparable {
    let tick: UInt64
    let isLater: Bool
    let number: UInt64

    static func < (a: Self, b: Self) -> Bool {
        (a.tick, a.isLater ? 1 : 0, a.number) < (b.tick, b.isLater ? 1 : 0, b.number)
    }
}
