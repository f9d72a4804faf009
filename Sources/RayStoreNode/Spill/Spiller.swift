// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import Synchronization

/// Moves objects between the store and the node's external storage.
///
/// An object that is spilled has a *record*. Its memory may be given up from then on, at once or whenever it is needed; restoring it leaves the
/// record, so giving the memory up again costs nothing. The order in which a record comes to be: the file is written, the manifest says so, the
/// index says so, the memory goes. A kill between any two of these loses nothing that a living node has, and leaves at most a file that the next
/// start removes.
actor Spiller {
    nonisolated let index: SpillIndex
    let storage: any ExternalStorage
    /// Whose files may be deleted by it.
    let place: StoragePlace
    /// Nil when nothing can be spilled: then copies of other nodes' objects are all that makes room.
    let manifest: SpillManifest?
    nonisolated let store: NodeStore
    let files: FileKeeper
    let options: SpillOptions
    nonisolated let capacity: UInt64
    let clock: any NodeClock
    let log: Logger
    /// What each record says of who owns its object.
    let owner: String
    /// How records are packed; nil: they are not.
    let packing: SpillPacking?
    /// For what reads objects in the store or writes the manifest; the storages have threads of their own.
    let threads = BlockingThreads(limit: 6)

    weak var ownership: Ownership?
    /// Where what comes back waits for its place; it leads back here.
    weak var room: RoomQueue?
    var counters: SpillCounters
    var spillTimer = BusyTimer()
    var restoreTimer = BusyTimer()
    var isStopping = false

    // Spilling.
    var activeSpills = 0
    /// All memory that has come free, in whatever way.
    var freedBytes: UInt64 = 0
    /// Files that the storage is writing.
    var activeWrites = 0
    /// Bytes of the store that the files under way are to free.
    var claimedBytes: UInt64 = 0
    /// Who waits for one of them to end.
    var spillWaiters: [CheckedContinuation<UInt64, Never>] = []
    /// After a failure that only room can mend nothing is written until then.
    var holdOffUntil = Duration.zero
    var holdOff = Duration.zero

    /// Files that were begun.
    var fileCount: UInt64 = 0
    /// What could go without a write, the oldest first, when the store was looked through last: each has to be looked at again, and a look at all of
    /// them costs as much as reading some objects.
    var droppable: ArraySlice<StoreEntry> = []

    // Restoring. What is wanted is in `wanted` or, from when a pass has begun with it, in `coming`.
    var wanted: [WantedObject] = []
    /// Who has come for it since.
    var coming: [ObjectID: [WantedObject.Continuation]] = [:]
    var turns = RestoreTurns()
    var arePassesScheduled = false
    var activePasses = 0
    /// Of these, those that wait for room in the store.
    var passesInRoom = 0
    nonisolated let kept = Mutex<UInt64>(0)
    var returns = LateReturns()
    var activeReadAheads = 0
    /// Bytes of the store that passes ahead look for, and have not taken yet.
    var claimedAhead: UInt64 = 0
    /// What is got here is noted from other actors.
    nonisolated let readAhead: Mutex<ReadAhead>
    nonisolated let isReadingFurther = Atomic(false)
    var heldWatch: Task<Void, Never>?
    /// Parts of objects that are being read.
    var activeParts = 0
    let packedRoom = PackedRoom(limit: Spiller.packedBytesMax)
    var nextTicket: UInt64 = 0

    // Deleting. A file that was entered is in just one of these: the index (an object needs it), `unused` (told by whoever ended the last object, not
    // looked at yet), `ending` (the list says so; deleted, and again until that succeeds). `tidy` alone takes from `unused`; a file leaves
    // `ending` when it is gone, or when another one has come in its place, which `names` allows only while nobody deletes it.
    nonisolated let unused = Mutex(UnusedRecords())
    /// Files that are of no use, and not deleted yet.
    var ending: Set<String> = []
    /// Keeps a deletion off the file that takes the place of the deleted one.
    let names = SpillNames()
    var isDeletionScheduled = false
    var activeTidies = 0
    let isSwept = Signal()
    var background: [Task<Void, Never>] = []
    /// Told when nothing is under way any more.
    var idleWaiters: [CheckedContinuation<Void, Never>] = []

    init(
        index: SpillIndex, storage: NodeStorage, manifest: SpillManifest?, store: NodeStore, files: FileKeeper,
        options: SpillOptions,
        capacity: UInt64, owner: String, clock: any NodeClock, log: Logger
    ) {
        self.index = index
        self.storage = storage.storage
        place = storage.place
        self.manifest = manifest
        self.store = store
        self.files = files
        self.options = options
        self.capacity = capacity
        self.owner = owner
        packing = SpillPacking(options.compression, for: storage.storage)
        self.clock = clock
        self.log = log
        counters = SpillCounters(storage: storage.typeName)
        readAhead = Mutex(
            ReadAhead(limit: UInt64(Double(capacity) * min(max(options.readAhead, 0), 1)), capacity: capacity))
    }

    /// Sweeps what earlier lives left, and begins to watch the store's use.
    func begin(for ownership: Ownership) {
        self.ownership = ownership
        guard storage.canSpill else { return }
        background = [Task { await self.sweep() }, Task { await self.watch() }]
    }

    /// What has been done, and what lies in the storage now.
    func snapshot() -> SpillCounters {
        var now = counters
        now.spillSeconds = spillTimer.busy(at: clock.now) / .seconds(1)
        now.restoreSeconds = restoreTimer.busy(at: clock.now) / .seconds(1)
        let counts = index.counts
        now.recordCount = counts.records
        now.damagedRecords = index.damagedCount
        now.readAheadUsedObjects = readAhead.withLock { $0.usedCount }
        now.recordBytes = counts.recordBytes
        now.recordOwnBytes = counts.recordOwnBytes
        now.fileCount = counts.files
        now.fileBytes = counts.fileBytes
        return now
    }

    /// Begins nothing new; returns when nothing is under way, which a storage that does not answer does not keep. The
    /// files of objects that end from now on go with the storage.
    func stop() async {
        isStopping = true
        storage.hurry()
        for task in background { task.cancel() }
        for object in wanted { object.continuation?.resume(returning: .failure(Self.isStopped)) }
        wanted = []
        turns = RestoreTurns()
        for task in background { await task.value }
        heldWatch?.cancel()
        await heldWatch?.value
        // Deletions too: a storage that is emptied as a whole must not lose files under its hands.
        while activeSpills > 0 || activePasses > 0 || activeParts > 0 || activeTidies > 0 {
            await withCheckedContinuation { idleWaiters.append($0) }
        }
    }

    /// The last call. `isCleared` when the storage has been emptied as a whole.
    func close(isCleared: Bool) async {
        await tidy()
        while activeTidies > 0 {
            await withCheckedContinuation { idleWaiters.append($0) }
        }
        let (manifest, place) = (manifest, place)
        try? await runBlocking(on: threads) { () throws(RayStoreError) in
            if isCleared { try? manifest?.clear(place) }
            manifest?.close()
        }
        ownership = nil
    }

    /// Something has ended; who waits looks whether it was the last.
    func noteIdle() {
        for waiter in idleWaiters { waiter.resume() }
        idleWaiters = []
    }

    static let isStopped = RayStoreError(.closed, "the node is being stopped")
}

/// How long something was under way, several at once counted once.
struct BusyTimer: Sendable {
    private var count = 0
    private var since = Duration.zero
    private var total = Duration.zero

    mutating func begin(at now: Duration) {
        if count == 0 { since = now }
        count += 1
    }

    mutating func end(at now: Duration) {
        count -= 1
        if count == 0 { total += now - since }
    }

    func busy(at now: Duration) -> Duration {
        count == 0 ? total : total + (now - since)
    }
}
