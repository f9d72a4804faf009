// SPDX-License-Identifier: Apache-2.0
internal import Logging
public import Metrics
public import RayStore
internal import Synchronization

/// A node: a store in shared memory, the files beside it, and everything that knows other machines.
///
/// A node is put together from what it is given: where the cluster's memory is (`ControlStore`), how to reach other nodes (`Transport`), and
/// what time it is. `RayStoreCluster` gives it real ones; `Session.start()` runs one alone in the calling process.
public final class Node: PeerService {
    /// This node as the cluster knows it.
    public var description: NodeDescription { rooms.description }

    /// The Unix socket that clients attach at.
    public let socketPath: String

    /// Storages that are not configured any more, where earlier lives of this node have left files, at its start.
    public let leftStorages: [LeftStorage]

    private let rooms: NodeRooms
    private let desk: ClientDesk
    private let pulls: Pulls
    private let links: PeerLinks
    private let peers: Peers
    private let storage: NodeStorage
    private let isHead: Bool
    private let stateLock: StateLock
    private let tasks = Mutex<[Task<Void, Never>]>([])
    private let isStopped = Atomic(false)
    private let attentionThread = BlockingThreads(limit: 1)
    private let attentionEnded = Signal()

    /// Starts a node: locks its state directory, validates its storage, makes its store, opens its ports, joins the cluster, and only then lets
    /// clients in.
    ///
    /// - Parameters:
    ///   - storage: where objects go when memory is short.
    ///   - isHead: whether this is the cluster's head, which removes at its stop what nodes that are gone have left in a storage of all.
    ///   - metrics: what the node reports its figures to; nil for the one that the program has bootstrapped with `MetricsSystem`.
    /// - Throws: `inUse` when another node has the state directory; `addressInUse`; `storeFull` or `outOfMemory` when the machine has no memory
    ///   for the store; what the storage and the control store answered.
    public static func start(
        _ options: NodeOptions, id: NodeID, advertisedHost: String, controlPort: UInt16, key: ClusterKey,
        control: any ControlStore, transport: any Transport, clock: any NodeClock,
        storage: any ExternalStorage = NoExternalStorage(), isHead: Bool = false,
        metrics: (any MetricsFactory)? = nil
    ) async throws(RayStoreError) -> Node {
        let log = Logger(label: "raystore.node")
        let lock = try StateLock(options.stateDirectory)
        let kept = try await NodeStorage(storage, log: log)
        do throws(RayStoreError) {
            return try await assemble(
                options, id: id, advertisedHost: advertisedHost, controlPort: controlPort, key: key, control: control,
                transport: transport, clock: clock, storage: kept, isHead: isHead, metrics: metrics, lock: lock,
                log: log)
        } catch {
            // Under the lock: a node that starts here next must not find its storage taken away.
            await kept.destroy()
            lock.unlock()
            throw error
        }
    }

    /// Makes the rooms, joins, and opens the door.
    private static func assemble(
        _ options: NodeOptions, id: NodeID, advertisedHost: String, controlPort: UInt16, key: ClusterKey,
        control: any ControlStore, transport: any Transport, clock: any NodeClock, storage: NodeStorage, isHead: Bool,
        metrics: (any MetricsFactory)?, lock: StateLock, log: Logger
    ) async throws(RayStoreError) -> Node {
        guard !options.movesFiles || storage.canSpill else {
            throw RayStoreError(.invalidArgument, "files can be moved only where a node has a storage: give it one")
        }
        let disk = try DiskLimits(reserve: options.diskReserve, watermark: options.diskWatermark)
        let store = try NodeStore(capacity: options.capacity)
        let fileStore = try await runBlocking { () throws(RayStoreError) in try FileStore(root: options.stateDirectory) }
        let (manifest, left) = try await storage.manifest(
            in: options.stateDirectory, forgettingOthers: options.forgetsOtherStorages)
        for place in left {
            log.warning(
                "an earlier life of this node has spilled to a storage that is not configured any more; what it left stays there",
                metadata: ["storage": "\(place.service)", "folder": "\(place.folder)", "files": "\(place.fileCount)"])
        }
        let index = SpillIndex()
        let catalog = Catalog(spilled: index)
        let transfer = try BulkTransfer(
            store: store, catalog: catalog, key: key, bindHost: options.bindHost, port: options.bulkPort,
            storage: storage.storage as? any DirectStorage,
            advertisedHost: advertisedHost, advertisedPort: options.advertisedBulkPort, caps: options.caps, disk: disk,
            sumsAhead: options.sumsAhead, log: log)
        let description: NodeDescription
        do throws(RayStoreError) {
            description = try await join(
                NodeDescription(
                    id: id, host: advertisedHost, controlPort: controlPort,
                    bulkPort: options.advertisedBulkPort ?? transfer.port, libraryVersion: libraryVersion),
                control, fileStore.left)
        } catch {
            try? await runBlocking { transfer.stop() }
            throw error
        }
        let peers = Peers(control: control)
        peers.add(description)
        let links = PeerLinks(transport: transport, clock: clock, peers: peers, log: log)
        let jobs = Jobs(me: id, control: control, peers: peers)
        let metrics = NodeMetrics(node: id, storage: storage.typeName, factory: metrics)
        let pulls = Pulls(
            clock: clock, metrics: metrics, holderPatience: options.holderPatience, explain: storage.explain)
        let restores = Pulls(clock: clock, metrics: nil, explain: storage.explain)
        let room = DiskRoom(root: options.stateDirectory, limits: disk, clock: clock, partialPath: fileStore.partialPath)
        let files = FileKeeper(
            files: fileStore, room: room, store: store, catalog: catalog,
            sums: FileSums(transfer: transfer, files: fileStore), log: log)
        let spiller = Spiller(
            index: index, storage: storage, manifest: manifest, store: store, files: files, options: options.spill,
            capacity: store.capacity, owner: id.description, clock: clock, log: log)
        let storeRoom = RoomQueue(
            store, capacity: store.capacity,
            options: RoomQueue.Options(
                grace: options.roomGrace, quota: RoomQuota(client: options.clientQuota, job: options.jobQuota)), clock: clock,
            log: log, explain: storage.explain)
        let ownership = Ownership(
            me: id, store: store, room: storeRoom, catalog: catalog, files: files, pulls: pulls, restores: restores,
            spiller: spiller, transfer: transfer, links: links, peers: peers, jobs: jobs, control: control, clock: clock,
            shareLease: options.shareLease, parts: PartNames(node: description.number), log: log)
        room.setReliever(ownership)
        let mover = FileMover(
            storage: storage.storage, files: files, moved: catalog.moved, manifest: manifest, life: id, log: log
        ) {
            await spiller.isSwept.wait()
        }
        if options.movesFiles { await ownership.setMover(mover) }
        await storeRoom.use(spiller)
        await spiller.wait(in: storeRoom)
        let reports = Reports(
            description: description, store: store, files: files, transfer: transfer, ownership: ownership, links: links,
            peers: peers, control: control, storage: storage, leftStorages: left, spiller: storage.canSpill ? spiller : nil)
        let rooms = NodeRooms(
            description: description, store: store, room: storeRoom, files: files, jobs: jobs, ownership: ownership,
            control: control,
            reports: reports, transfer: transfer, pulls: pulls, restores: restores, spiller: spiller, catalog: catalog,
            prefetching: Prefetching(me: id, ownership: ownership, links: links, peers: peers, clock: clock), metrics: metrics,
            clock: clock, log: log, stopRequested: Signal())
        let node = Node(
            rooms: rooms, pulls: pulls, links: links, peers: peers, storage: storage, isHead: isHead,
            leftStorages: left, stateLock: lock, socketPath: options.resolvedSocketPath)
        do throws(RayStoreError) {
            try node.begin(metricsEvery: options.metricsEvery, partialLifetime: options.partialLifetime)
            await spiller.begin(for: ownership)
            try store.startPrefault(upTo: options.prefault)
            try node.desk.open(socketPath: node.socketPath, readers: options.readers)
        } catch {
            await node.stop()
            throw error
        }
        return node
    }

    /// Joins, and gives up what came in part in another cluster. Only now is the head asked which one it is: a head of another version has refused
    /// by then, in words that say so.
    private static func join(
        _ node: NodeDescription, _ control: any ControlStore, _ left: LeftPartials
    ) async throws(RayStoreError) -> NodeDescription {
        let joined = try await control.join(node)
        do throws(RayStoreError) {
            let session = try await session(of: control)
            try await runBlocking { () throws(RayStoreError) in try left.belong(to: session) }
            return joined
        } catch {
            try? await control.leave(joined.id)
            throw error
        }
    }

    /// The cluster's name; nil from a head of before clusters had one.
    private static func session(of control: any ControlStore) async throws(RayStoreError) -> String? {
        do throws(RayStoreError) {
            return try await control.clusterInfo().session
        } catch  where error.code == .protocolError {
            return nil
        }
    }

    private init(
        rooms: NodeRooms, pulls: Pulls, links: PeerLinks, peers: Peers, storage: NodeStorage,
        isHead: Bool, leftStorages: [LeftStorage], stateLock: StateLock, socketPath: String
    ) {
        self.rooms = rooms
        self.pulls = pulls
        self.links = links
        self.peers = peers
        self.storage = storage
        self.isHead = isHead
        self.leftStorages = leftStorages
        self.stateLock = stateLock
        self.socketPath = socketPath
        desk = ClientDesk(rooms: rooms)
    }

    /// Starts what runs beside the requests: the store's calls for attention, the cluster's events, expiry.
    private func begin(metricsEvery: Duration, partialLifetime: Duration) throws(RayStoreError) {
        let rooms = rooms
        let (batches, attention) = AsyncStream.makeStream(of: [StoreEntry].self)
        let attentionEnded = attentionEnded
        // A thread of its own: the wait lasts as long as the node.
        let accepted = attentionThread.submit {
            while let batch = rooms.store.awaitAttention() {
                if !batch.isEmpty { attention.yield(batch) }
            }
            attention.finish()
            attentionEnded.fire()
        }
        guard accepted else {
            attentionEnded.fire()
            throw RayStoreError(.system, "no thread can be made for the node: raise the process's thread limit (ulimit -u)")
        }
        let attend = Task {
            for await batch in batches { await rooms.ownership.attend(to: batch) }
        }
        let events = rooms.control.events()
        let follow = Task { [peers] in
            for await event in events {
                switch event {
                case .nodeJoined(let node):
                    peers.add(node)
                    // The stream begins, perhaps again after an interruption: what ended meanwhile was not told.
                    if node.id == rooms.description.id { await rooms.ownership.checkJobs() }
                case .nodeGone(let node):
                    if node != rooms.description.id { await rooms.ownership.nodeGone(node) }
                case .jobEnded(let job): await rooms.ownership.jobEnded(job)
                }
            }
        }
        let begin = rooms.clock.now
        let expire = Task {
            while !Task.isCancelled {
                try? await rooms.clock.sleep(for: .seconds(5))
                await rooms.ownership.expireShares()
                await rooms.ownership.tidyLeftPartials(isTimeOver: rooms.clock.now - begin >= partialLifetime)
            }
        }
        let restore = Task {
            for await id in rooms.catalog.wanted {
                // Why it does not come is told to who asks again.
                Task { try? await rooms.ownership.makeLocal(id, lingering: true, tuning: .init(), observer: nil) }
            }
        }
        let keepSums = Task {
            for await id in rooms.catalog.summed { await rooms.files.keepSums(of: id) }
        }
        tasks.withLock { $0 = [attend, follow, expire, restore, keepSums] }
        guard rooms.metrics.isActive else { return }
        let measure = Task { [desk] in
            while !Task.isCancelled {
                // Without a thread to be had this sample is missed; totals make up for it with the next.
                if let sample = try? await rooms.sample(reapedClientCount: desk.reapedCount) { rooms.metrics.record(sample) }
                try? await rooms.clock.sleep(for: metricsEvery)
            }
        }
        tasks.withLock { $0.append(measure) }
    }

    public func handle(_ request: PeerRequest, from sender: NodeID) async throws(RayStoreError) -> PeerAnswer {
        if case .report(let what, _) = request {
            return .report(try await rooms.reports.answerPeer(what))
        }
        // A node may ask before its joining is told here; what it is told later needs its address.
        if peers[sender] == nil { try await peers.refresh() }
        return try await rooms.ownership.handle(request, from: sender)
    }

    /// Joins the cluster again after the control store had given this node up, and has its borrowed refs counted again.
    public func rejoin() async throws(RayStoreError) {
        _ = try await rooms.control.join(rooms.description)
        await rooms.ownership.registerAgain()
    }

    /// How many wait for room in the store.
    var waitingForRoom: Int {
        get async { await rooms.room.count }
    }

    /// How many spilled objects are wanted and not on their way back.
    var wantedFromStorage: Int {
        get async { await rooms.spiller.wanted.count }
    }

    /// What was read ahead and waits for its reader, what is still to come, and whether it is looked at now and then.
    var readAheadNow: (heldBytes: UInt64, comingBytes: UInt64, isWatched: Bool) {
        get async {
            let spiller = rooms.spiller
            let bytes = spiller.readAhead.withLock { ($0.heldBytes, $0.comingBytes) }
            return (bytes.0, bytes.1, await spiller.heldWatch != nil)
        }
    }

    /// For tests that free memory in a way of their own.
    func useReliever(_ reliever: any MemoryReliever) async {
        await rooms.room.use(reliever)
    }

    /// Returns when a client has asked the node to stop (`raystore stop`). Stopping is up to whoever runs the node.
    public func waitForStopRequest() async {
        await rooms.stopRequested.wait()
    }

    /// Ends the node: its clients' sessions, its objects everywhere, its transfers; then leaves the cluster. May be called again.
    public func stop() async {
        guard !isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        rooms.files.keepPartials()
        try? await runBlocking { [desk, rooms] in
            desk.close()
            rooms.store.stopPrefault()
        }
        let reason = RayStoreError(.nodeDied, "node \(description.id.short) was stopped")
        // First: what comes back from the storage may wait there for room.
        await rooms.room.stop(because: reason)
        await rooms.spiller.stop()
        await rooms.ownership.endAll()
        // Owners and holders hear of the end before this node leaves; a node that does not answer is not waited for long.
        await links.drain(for: .seconds(2))
        try? await rooms.control.leave(rooms.description.id)
        links.closeAll()
        for pulls in [pulls, rooms.restores] { await pulls.cancelAll(because: reason) }
        try? await runBlocking { [transfer = rooms.transfer] in transfer.stop() }
        await rooms.files.awaitRemovals()
        // What moved since the last sample counts too.
        if rooms.metrics.isActive, let sample = try? await rooms.sample(reapedClientCount: desk.reapedCount) {
            rooms.metrics.record(sample)
        }
        await rooms.ownership.mover?.awaitDeletions()
        for task in tasks.withLock({ $0 }) { task.cancel() }
        rooms.store.stopAttention()
        await attentionEnded.wait()
        let isCleared = await storage.destroy()
        await removeShared()
        await rooms.spiller.close(isCleared: isCleared)
        rooms.metrics.end()
        await rooms.files.close()
        stateLock.unlock()
    }
}

extension Node {
    /// The head's last deed: removes what dead nodes have left in a storage of all. Nodes that live have their files there, and remove them at
    /// their own end; so may those that were only silent.
    private func removeShared() async {
        guard isHead, (try? await rooms.control.nodes())?.isEmpty == true else { return }
        guard let missing = try? await rooms.control.missingNodes(), missing.isEmpty else {
            rooms.log.debug("what other nodes have in the cluster's storage stays: some may be cut off only")
            return
        }
        await storage.destroyShared()
    }

    /// What has been spilled and restored; nil when nothing can be.
    package func spillCounters() async -> SpillCounters? {
        storage.canSpill ? await rooms.spiller.snapshot() : nil
    }

    /// Frees memory of the store, as for a create that does not fit.
    package func freeMemory(_ bytes: UInt64) async -> UInt64 {
        await rooms.spiller.free(bytes)
    }

    /// Where the object's record lies; nil when it has none.
    package func spillLocation(of id: ObjectID) -> SpillLocation? {
        rooms.spiller.index.record(of: id)?.location
    }

    /// The most memory that packed records took as they were read, at a time.
    package var packedPeakBytes: Int {
        get async { await rooms.spiller.packedRoom.peak }
    }

    /// Bytes of the store that objects take.
    package var storeUsedBytes: UInt64 { rooms.store.usedBytes }
}
