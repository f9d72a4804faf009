// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Logging
internal import RayStore

/// What a pull is to do.
private struct PullWork: Sendable {
    let id: ObjectID
    let owner: NodeID
    let tuning: TransferTuning
    let urgency: PullUrgency
    /// In whose turn it waits for room.
    let asker: ClientSlot?
    let observe: Pulls.Observer
}

// Getting an object onto this node.
extension Ownership {
    /// Returns when the object is sealed here; a file, when it is complete, verified and in its place.
    ///
    /// - Parameters:
    ///   - lingering: the pull goes on when the caller gives up.
    ///   - tuning: of the pull, if none is under way; one that is becomes at most more urgent.
    ///   - asker: the client that waits for it, in whose turn it has room; nil for nobody of this node.
    ///   - limit: how long the caller will wait; nil: as long as it takes. Who has none waits a minute for a new holder
    ///     (`NodeOptions.holderPatience`).
    /// - Throws: what the object failed with; `notFound` for an id that no process of this node has opened; `sourceChanged`.
    func makeLocal(
        _ id: ObjectID, lingering: Bool, tuning: TransferTuning, for asker: ClientSlot? = nil, limit: Duration? = nil,
        observer: Pulls.Observer?
    ) async throws(RayStoreError) {
        while true {
            switch try whereabouts(of: id) {
            case .here:
                spiller.noteUse(of: id)
                return
            case .elsewhere(let owner):
                try await pull(
                    id, owner: owner, lingering: lingering, tuning: tuning, for: asker, limit: limit, observer: observer)
            case .spilled(let spiller):
                try await restore(id, lingering: lingering, by: spiller, for: asker)
            case .moved:
                try await bringBack(id)
            case .beingMade:
                await awaitChange(of: id)
            }
        }
    }

    enum Whereabouts {
        case here
        /// To be had from its owner's node, or from who holds it.
        case elsewhere(owner: NodeID)
        /// In this node's storage.
        case spilled(Spiller)
        /// A file in this node's storage.
        case moved
        /// By a process of this node.
        case beingMade
    }

    /// Where the object is to be had now.
    ///
    /// - Throws: why it is nowhere; `cancelled` when it is not here and the task is.
    func whereabouts(of id: ObjectID) throws(RayStoreError) -> Whereabouts {
        guard let entry = store.entry(of: id) else { throw catalog.absence(of: id) }
        switch entry.state {
        case .sealed:
            try files.checkUnchanged(id)
            return .here
        case .failed, .deleting:
            let absence = catalog.absence(of: id)
            guard absence.code == .notFound else { throw absence }
            let code = entry.state == .failed ? entry.failure : .objectFreed
            throw RayStoreError(code, "object \(id): \(code.text)", object: id)
        default:
            break
        }
        // Looked at only now: what is here already is here, however short the time.
        if Task.isCancelled { throw RayStoreError(.cancelled, "the get of \(id) was cancelled", object: id) }
        if let owner = borrowed[id]?.owner { return .elsewhere(owner: owner) }
        // Before it is looked whether somebody makes it: what comes back is being made, by the node itself.
        if spiller.index.record(of: id) != nil { return .spilled(spiller) }
        if catalog.moved[id] != nil { return .moved }
        if entry.state == .creating {
            _ = try record(of: id)
            return .beingMade
        }
        if let record = owned[id], !record.holders.isEmpty || !record.lostHolders.isEmpty { return .elsewhere(owner: me) }
        let absence = catalog.absence(of: id)
        guard absence.code == .notFound else { throw absence }
        if let damage = spiller.index.damage(of: id) { throw damage }
        throw RayStoreError(.objectLost, "every copy of \(id) is lost, and nothing is known that could make it again", object: id)
    }

    /// Whether the object is complete, here or elsewhere.
    func isAvailable(_ id: ObjectID) async throws(RayStoreError) -> Bool {
        if let entry = store.entry(of: id), entry.state == .sealed || entry.state == .failed { return true }
        guard let owner = borrowed[id]?.owner else {
            return owned[id]?.holders.isEmpty == false || spiller.index.isKnown(id) == true || catalog.moved[id] != nil
        }
        guard case .outcomes(let outcomes) = try await links.askAside(owner, .available([id])), let outcome = outcomes.first
        else {
            throw RayStoreError(.protocolError, "node \(owner.short) gave no outcome for \(id)", object: id)
        }
        // A failure counts as ready: a get would answer at once.
        return outcome.map { !$0.isPassing } ?? true
    }

    /// Why an object that somebody waits for does not come, as its owner knows now (`Pulls.Inquiry`).
    private func inquire(after id: ObjectID, owner: NodeID) async -> RayStoreError? {
        if owner == me {
            guard store.entry(of: id)?.state != .sealed, sources(of: id, owner: me).isEmpty else { return nil }
            return absence(of: id, owner: me)
        }
        guard case .outcomes(let outcomes)? = try? await links.askAside(owner, .available([id])), let outcome = outcomes.first,
            let outcome, outcome.code != .notSealed
        else { return nil }
        return outcome.error
    }

    func pull(
        _ id: ObjectID, owner: NodeID, lingering: Bool, tuning: TransferTuning, for asker: ClientSlot?, limit: Duration? = nil,
        observer: Pulls.Observer?
    ) async throws(RayStoreError) {
        try await pulls.fetch(
            id, lingering: lingering, urgency: tuning.urgency ?? .get, isLimited: limit != nil, observer: observer,
            inquire: { await self.inquire(after: id, owner: owner) }
        ) { observe, urgency throws(RayStoreError) in
            try await self.pullUntilHere(
                PullWork(id: id, owner: owner, tuning: tuning, urgency: urgency, asker: asker, observe: observe))
        }
    }

    /// Pulls, and pulls again while that can help: until the object is here, its owner says that it will not be, or the owner's node is gone.
    ///
    /// A file that has come in part stays for the next try, and goes with the last one; unless it had come in an earlier life of the node,
    /// and whoever wanted it has only given up.
    private func pullUntilHere(_ work: PullWork) async throws(RayStoreError) {
        let id = work.id
        let admission = DiskAdmission(id, in: files.room)
        let room = StoreAdmission(id, in: store, by: room, for: work.asker)
        // After what is left of a failure is gone.
        defer { admission.end() }
        let wasLeft = files.left.take(id)
        do throws(RayStoreError) {
            try await pullAgainAndAgain(work, admission, room)
        } catch {
            if wasLeft, error.code == .cancelled, catalog.absence(of: id).code == .notFound {
                let files = files
                try? await runBlocking { files.left.giveBack(id) }
            } else {
                await files.discardPartial(id)
            }
            throw error
        }
    }

    private func pullAgainAndAgain(
        _ work: PullWork, _ admission: DiskAdmission, _ room: StoreAdmission
    ) async throws(RayStoreError) {
        let id = work.id
        var pause = Duration.milliseconds(10)
        while true {
            // A pull that was cancelled in its last moment may have brought it nevertheless.
            if store.entry(of: id)?.state == .sealed {
                try await announce(id, to: work.owner)
                return
            }
            do throws(RayStoreError) {
                work.urgency.forgetOffers()
                let sources = sources(of: id, owner: work.owner)
                if sources.isEmpty { throw absence(of: id, owner: work.owner) }
                // For as long as anybody waits: whose wait ends when is not the engine's to know.
                let pulled = try await transfer.pull(
                    id, from: sources, partialPath: files.partialPath(id), room: room, patience: nil,
                    admit: admission.open, tuning: work.tuning, urgency: work.urgency
                ) { [clock] progress in
                    work.urgency.noteProgress(progress.done_bytes, at: clock.now)
                    work.observe(progress)
                }
                if case .file(let metadata, let descriptor) = pulled.place {
                    try await files.placePulled(id, metadata: metadata, descriptor: descriptor)
                }
                try await announce(id, to: work.owner)
                return
            } catch {
                guard !Task.isCancelled else { throw error }
                if error.code == .outOfDisk {
                    try await admission.await(after: error)
                    continue
                }
                if error.code == .storeFull {
                    try await room.awaitRoom(after: error)
                    continue
                }
                guard Self.mayPass(error.code) else { throw error }
                work.urgency.noteHindrance(error.message)
                log.debug("pull again", metadata: ["object": "\(id)", "reason": "\(error.message)"])
            }
            try? await clock.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(500))
            if Task.isCancelled { throw RayStoreError(.cancelled, "the get of \(id) was cancelled", object: id) }
        }
    }

    /// Why there is nobody to ask.
    func absence(of id: ObjectID, owner: NodeID) -> RayStoreError {
        guard owner == me else {
            return RayStoreError(
                .ownerDied, "the owner of \(id), node \(owner.short), is not in the cluster any more", object: id)
        }
        if let wait = catalog.wait(for: id) { return wait }
        let absence = catalog.absence(of: id)
        return absence.code == .notFound ? RayStoreError(.objectLost, "every copy of \(id) is lost", object: id) : absence
    }

    func sources(of id: ObjectID, owner: NodeID) -> [BulkEndpoint] {
        var sources = catalog.holders(of: id)
        if owner != me, let node = peers[owner] {
            sources.insert(BulkEndpoint(host: node.host, port: node.bulkPort), at: 0)
        }
        return sources
    }

    /// Failures that end by themselves: the object is sealed later, or there is a holder again, or the membership decides that the node is gone. In use is a file whose
    /// last pull has told of its end and not yet given up the lock.
    static func mayPass(_ code: RayStoreError.Code) -> Bool {
        [.notSealed, .notLocal, .noHolder, .unreachable, .peerClosed, .fetchTimedOut, .inUse].contains(code)
    }

    /// Tells the owner of the new copy. One that has ended meanwhile is dropped again.
    private func announce(_ id: ObjectID, to owner: NodeID) async throws(RayStoreError) {
        spiller.noteCopy(of: id)
        guard owner != me else { return }
        guard borrowed[id] != nil else {
            await dropValue(of: id, failure: .objectFreed)
            throw catalog.absence(of: id)
        }
        links.tell(owner, .hold([id]))
    }
}
