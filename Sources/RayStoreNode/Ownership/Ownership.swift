// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

/// Who refers to what: the records of the objects that this node owns, and of those that it borrows.
///
/// An owned object ends when nobody wants it: no process here (its bits in the store say so), no other node, no ref in flight, no object that
/// contains it, and it is not detached. The store calls attention when the last ref of a process goes; everything else is told by clients
/// and peers. Each decision looks at the store afresh, so a call for attention that comes late or twice does no harm.
actor Ownership {
    let me: NodeID
    let store: NodeStore
    let room: RoomQueue
    let catalog: Catalog
    let files: FileKeeper
    let pulls: Pulls
    /// What comes back from the storage.
    let restores: Pulls
    let spiller: Spiller
    let transfer: BulkTransfer
    let links: PeerLinks
    let peers: Peers
    let jobs: Jobs
    let control: any ControlStore
    let clock: any NodeClock
    let log: Logger
    let shareLease: Duration
    let parts: PartNames
    /// Nil when files that this node owns stay on its disk.
    var mover: FileMover?

    var owned: [ObjectID: OwnedObject] = [:]
    var borrowed: [ObjectID: BorrowedObject] = [:]
    /// What is being dropped from this node: it has no record any more, and its entry is still there.
    var departures: [ObjectID: Signal] = [:]
    var prefetches: [ObjectID: Prefetch] = [:]
    var nextPrefetch: UInt64 = 0
    /// Owners that did not say whether copies may go, and until when they count as silent.
    var silentOwners: [NodeID: Duration] = [:]
    /// Where a session of this node has shares to end.
    var sharedAt: [UInt64: Set<NodeID>] = [:]
    /// Who waits for a local object to be sealed.
    var sealWaiters: [ObjectID: [UInt64: CheckedContinuation<Void, Never>]] = [:]
    private var nextTicket: UInt64 = 0

    init(
        me: NodeID, store: NodeStore, room: RoomQueue, catalog: Catalog, files: FileKeeper, pulls: Pulls, restores: Pulls,
        spiller: Spiller,
        transfer: BulkTransfer, links: PeerLinks, peers: Peers, jobs: Jobs, control: any ControlStore, clock: any NodeClock,
        shareLease: Duration,
        parts: PartNames, log: Logger
    ) {
        self.me = me
        self.store = store
        self.room = room
        self.catalog = catalog
        self.files = files
        self.pulls = pulls
        self.restores = restores
        self.spiller = spiller
        self.transfer = transfer
        self.links = links
        self.peers = peers
        self.jobs = jobs
        self.control = control
        self.clock = clock
        self.shareLease = shareLease
        self.parts = parts
        self.log = log
    }

    // MARK: Records

    /// The record of an object that this node owns, made when it first matters to anybody else.
    ///
    /// - Throws: why there is no such object.
    func record(of id: ObjectID) throws(RayStoreError) -> OwnedObject {
        if let record = owned[id] { return record }
        guard departures[id] == nil, let entry = store.entry(of: id), entry.state == .sealed || entry.state == .creating else {
            throw catalog.absence(of: id)
        }
        // Its last ref may go between the look and the hold; what was made anew then is not the object.
        switch try store.adopt(id) {
        case .sealed, .creating:
            let record = OwnedObject()
            owned[id] = record
            return record
        default:
            store.disown(id)
            throw catalog.absence(of: id)
        }
    }

    private func isReferredTo(_ id: ObjectID) -> Bool {
        (store.entry(of: id)?.referringClients ?? 0) > 0
    }

    /// Ends an owned object if nobody wants it.
    func settle(_ id: ObjectID) async {
        guard let record = owned[id], !record.isWanted, !isReferredTo(id) else { return }
        await end(id, RayStoreError(.objectFreed, "object \(id) ended when its last reference went", object: id))
    }

    /// Ends an owned object everywhere: other nodes delete their copies, contained objects lose a reference, the name goes.
    func end(_ id: ObjectID, _ reason: RayStoreError) async {
        guard let record = owned.removeValue(forKey: id) else { return }
        catalog.noteEnd(of: id, reason)
        let notice = PeerRequest.gone([id], code: reason.code, message: reason.message)
        for node in record.borrowers.union(record.holders) where node != me {
            links.tell(node, notice)
        }
        await dropValue(of: id, failure: reason.code)
        if record.isNamed {
            try? await control.unbindAll(of: id)
        }
        for inner in record.contains {
            await dropContained(inner)
        }
    }

    /// Deletes the local value and gives up the node's own hold on the entry.
    func dropValue(of id: ObjectID, failure: RayStoreError.Code) async {
        forgetPrefetch(of: id)
        await pulls.cancel(id, because: catalog.absence(of: id))
        if spiller.index.isKnown(id) {
            await restores.cancel(id, because: catalog.absence(of: id))
            spiller.forget(id)
        }
        transfer.forget(id)
        catalog.stopServing(id)
        if catalog.moved[id] != nil { await mover?.forget(id) }
        if files.has(id) {
            files.retire(id, failure: failure)
        } else {
            store.delete(id, failure: failure)
            store.fail(id, with: failure)
            store.disown(id)
        }
    }

    func dropContained(_ inner: ObjectID) async {
        if owned[inner] != nil {
            owned[inner]!.containerCount -= 1
            await settle(inner)
        } else if borrowed[inner] != nil {
            borrowed[inner]!.containerCount -= 1
            await settleBorrowed([inner])
        }
    }

    /// Gives back borrowed objects that nothing on this node refers to any more.
    func settleBorrowed(_ ids: [ObjectID]) async {
        var released: [NodeID: [ObjectID]] = [:]
        for id in ids {
            guard let record = borrowed[id], record.openingCount == 0, record.containerCount == 0,
                prefetches[id]?.keepsCopy != true, !isReferredTo(id)
            else { continue }
            borrowed[id] = nil
            departures[id] = Signal()
            released[record.owner, default: []].append(id)
            await dropValue(of: id, failure: .objectFreed)
        }
        for (owner, ids) in released {
            links.tell(owner, .release(ids))
            // Whoever opens one again does so behind that.
            for id in ids { departures.removeValue(forKey: id)?.fire() }
        }
    }

    // MARK: The store's calls for attention

    func attend(to entries: [StoreEntry]) async {
        for entry in entries {
            if let waiters = sealWaiters.removeValue(forKey: entry.id) {
                for waiter in waiters.values { waiter.resume() }
            }
            files.attend(to: entry.id)
            if entry.referringClients == 0 {
                await settle(entry.id)
            }
        }
        await settleBorrowed(entries.map(\.id).filter { borrowed[$0] != nil })
    }

    /// Returns when a local object that is being filled is sealed, fails or goes, or when the task is cancelled.
    func awaitChange(of id: ObjectID) async {
        nextTicket += 1
        let ticket = nextTicket
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume()
                    return
                }
                sealWaiters[id, default: [:]][ticket] = continuation
                // Watched after the waiter is listed: attention that comes at once finds it.
                store.watch(id)
            }
        } onCancel: {
            Task { await self.stopWaiting(for: id, ticket) }
        }
    }

    private func stopWaiting(for id: ObjectID, _ ticket: UInt64) {
        sealWaiters[id]?.removeValue(forKey: ticket)?.resume()
        if sealWaiters[id]?.isEmpty == true { sealWaiters[id] = nil }
    }

    // MARK: Time

    func expireShares() async {
        let now = clock.now
        for (id, record) in owned where !record.shares.isEmpty {
            owned[id]?.expireShares(now: now)
            await settle(id)
        }
    }

    // MARK: The cluster's events

    func jobEnded(_ job: JobID) async {
        await jobs.noteEnd(of: job)
        for (id, record) in owned where id.job == job && !record.isDetached {
            await end(id, RayStoreError(.ownerDied, "object \(id) ended with its job \(job)", object: id))
        }
    }

    /// Ends what belongs to jobs whose end was missed.
    func checkJobs() async {
        for job in Set(owned.lazy.filter { !$0.value.isDetached }.map(\.key.job)) {
            // A head that does not answer now is asked again when the stream begins next.
            if let record = try? await control.job(job), !record.isRunning {
                await jobEnded(job)
            }
        }
    }

    func nodeGone(_ node: NodeID) async {
        peers.remove(node)
        links.close(node)
        for (id, record) in owned {
            guard
                record.borrowers.contains(node) || record.holders.contains(node)
                    || record.shares.keys.contains(where: { $0.node == node })
            else { continue }
            owned[id]?.borrowers.remove(node)
            owned[id]?.loseHolder(node)
            owned[id]?.shares = record.shares.filter { $0.key.node != node }
            publishHolders(of: id)
            await settle(id)
        }
        for (id, record) in borrowed where record.owner == node {
            borrowed[id] = nil
            let reason = RayStoreError(.ownerDied, "the owner of \(id), node \(node.short), died", object: id)
            catalog.noteEnd(of: id, reason)
            await dropValue(of: id, failure: .ownerDied)
        }
    }

    /// Lets the transfer engine tell who else has a copy, or that one may come back.
    func publishHolders(of id: ObjectID) {
        let holders = (owned[id]?.holders ?? []).compactMap { peers[$0] }
        catalog.setHolders(
            holders.map { BulkEndpoint(host: $0.host, port: $0.bulkPort) }, of: id, wait: holders.isEmpty ? wait(for: id) : nil)
    }

    private func wait(for id: ObjectID) -> RayStoreError? {
        guard let record = owned[id], record.holders.isEmpty, let last = record.lostHolders.last else { return nil }
        return RayStoreError(
            .noHolder, "object \(id) waits for a new holder: the last one, node \(last.short), is not in the cluster any more",
            object: id)
    }

    /// After the control store had given this node up: the owners count it again.
    func registerAgain() async {
        var byOwner: [NodeID: [ObjectID]] = [:]
        for (id, record) in borrowed { byOwner[record.owner, default: []].append(id) }
        for (owner, ids) in byOwner {
            links.tell(owner, .borrow(ids))
            links.tell(owner, .hold(ids.filter { store.entry(of: $0)?.state == .sealed }))
        }
    }

    func endAll() async {
        await endAllPrefetches()
        for id in owned.keys {
            await end(id, RayStoreError(.ownerDied, "the owner of \(id), node \(me.short), was stopped", object: id))
        }
        await settleBorrowed(Array(borrowed.keys))
    }
}
