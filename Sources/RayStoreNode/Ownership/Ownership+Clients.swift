// SPDX-License-Identifier: Apache-2.0
internal import RayStore

// What the node's own clients ask for.
extension Ownership {
    /// A client has an id from elsewhere and wants a ref: it is counted by the owner before it is given.
    func open(_ id: ObjectID, for client: ClientSlot) async throws(RayStoreError) {
        let owner = try await jobs.owner(of: id)
        if owner == me {
            _ = try record(of: id)
            try await give(id, to: client)
            owned[id]?.useUpShare()
        } else {
            try await openBorrowed(id, owner: owner, for: client)
        }
    }

    private func openBorrowed(_ id: ObjectID, owner: NodeID, for client: ClientSlot) async throws(RayStoreError) {
        try await borrow(id, from: owner)
        borrowed[id]?.openingCount -= 1
        try await give(id, to: client)
    }

    /// Makes sure that the owner has counted this node. An opening is under way, whose end is the caller's to note.
    func borrow(_ id: ObjectID, from owner: NodeID) async throws(RayStoreError) {
        while let departure = departures[id] { await departure.wait() }
        if borrowed[id] == nil {
            try await adoptFresh(id)
        }
        if borrowed[id] == nil {
            let registration = Task { await self.register(id, at: owner) }
            borrowed[id] = BorrowedObject(owner: owner, registration: registration)
        }
        borrowed[id]!.openingCount += 1
        if let failure = await borrowed[id]!.registration.value {
            borrowed[id]?.openingCount -= 1
            if borrowed[id]?.openingCount == 0 {
                borrowed[id] = nil
                store.disown(id)
            }
            throw failure.error
        }
        guard borrowed[id] != nil else { throw catalog.absence(of: id) }
    }

    /// Gives a client the ref that it asked for. When it is gone meanwhile, its wish may have been all that kept the object.
    private func give(_ id: ObjectID, to client: ClientSlot) async throws(RayStoreError) {
        do throws(RayStoreError) {
            try store.giveRef(id, to: client)
        } catch {
            await settle(id)
            await settleBorrowed([id])
            throw error
        }
    }

    /// An entry for a borrowed object. One that is on its way out, because a process still reads what this node gave back, is waited for.
    private func adoptFresh(_ id: ObjectID) async throws(RayStoreError) {
        for _ in 0..<100 {
            switch try store.adopt(id) {
            case .remote, .sealed, .creating:
                return
            case .failed:
                store.unfail(id)
                return
            default:
                store.disown(id)
                try? await clock.sleep(for: .milliseconds(20))
            }
        }
        throw RayStoreError(
            .inUse, "object \(id) was dropped on this node while a process still reads it; release the old view first", object: id
        )
    }

    private func register(_ id: ObjectID, at owner: NodeID) async -> PeerFailure? {
        do throws(RayStoreError) {
            guard case .outcomes(let outcomes) = try await links.ask(owner, .borrow([id])) else {
                return PeerFailure(RayStoreError(.protocolError, "node \(owner.short) gave no outcome for \(id)", object: id))
            }
            return outcomes.first ?? nil
        } catch {
            return PeerFailure(error)
        }
    }

    /// A client is about to pass a ref on: the object waits for whoever opens it, until the lease or the session ends.
    func share(_ id: ObjectID, session: UInt64) async throws(RayStoreError) {
        let owner = try await jobs.owner(of: id)
        if owner == me {
            try noteShare(of: id, by: Sharer(node: me, session: session))
        } else {
            sharedAt[session, default: []].insert(owner)
            _ = try await links.ask(owner, .share(id, session: session))
        }
    }

    func noteShare(of id: ObjectID, by sharer: Sharer) throws(RayStoreError) {
        _ = try record(of: id)
        owned[id]!.shares[sharer, default: []].append(clock.now + shareLease)
    }

    /// A session has ended, however it ended: what it passed on and nobody opened is not waited for any more.
    func endSession(_ session: UInt64) async {
        await endShares(of: Sharer(node: me, session: session))
        for node in sharedAt.removeValue(forKey: session) ?? [] {
            links.tell(node, .endShares(session: session))
        }
    }

    func endShares(of sharer: Sharer) async {
        for (id, record) in owned where record.shares[sharer] != nil {
            owned[id]?.shares[sharer] = nil
            await settle(id)
        }
    }

    /// An object that a client of this node has put contains refs: what they name lives as long as it.
    func contain(_ outer: ObjectID, _ inner: [ObjectID]) async throws(RayStoreError) {
        _ = try record(of: outer)
        for id in inner {
            if borrowed[id] != nil {
                borrowed[id]!.containerCount += 1
            } else {
                _ = try record(of: id)
                owned[id]!.containerCount += 1
            }
            owned[outer]!.contains.append(id)
        }
    }

    /// Frees objects everywhere, whoever still refers to them.
    func free(_ ids: [ObjectID]) async throws(RayStoreError) {
        var elsewhere: [NodeID: [ObjectID]] = [:]
        for id in ids {
            let owner = try await jobs.owner(of: id)
            if owner == me {
                try await freeOwned(id)
            } else {
                elsewhere[owner, default: []].append(id)
            }
        }
        for (owner, ids) in elsewhere {
            _ = try await links.ask(owner, .free(ids))
        }
    }

    func freeOwned(_ id: ObjectID) async throws(RayStoreError) {
        // A client frees what nobody else has seen by itself, and asks here when it cannot be sure of that.
        if owned[id] == nil, let entry = store.entry(of: id), entry.state == .failed, entry.failure == .objectFreed { return }
        _ = try record(of: id)
        await end(id, RayStoreError(.objectFreed, "object \(id) was freed", object: id))
    }

    func setDetached(_ id: ObjectID, _ isDetached: Bool) async throws(RayStoreError) {
        let owner = try await jobs.owner(of: id)
        if owner != me {
            _ = try await links.ask(owner, isDetached ? .detach(id) : .remove(id))
            return
        }
        try await setOwnedDetached(id, isDetached)
    }

    func setOwnedDetached(_ id: ObjectID, _ isDetached: Bool) async throws(RayStoreError) {
        _ = try record(of: id)
        // What is to outlive this life of the node must not lie where the next one sweeps.
        if isDetached, catalog.moved[id] != nil { try await bringBack(id) }
        guard owned[id] != nil else { throw catalog.absence(of: id) }
        owned[id]!.isDetached = isDetached
        try files.setDetached(id, isDetached)
        if !isDetached {
            try await control.unbindAll(of: id)
            owned[id]?.isNamed = false
            await settle(id)
        }
    }

    func bind(_ id: ObjectID, to name: String, in namespace: String) async throws(RayStoreError) {
        let owner = try await jobs.owner(of: id)
        // The owner hears of it first, so that an object that ends meanwhile takes the name along.
        if owner == me {
            try noteNamed(id)
        } else {
            _ = try await links.ask(owner, .named(id))
        }
        try await control.bind(name, in: namespace, to: id)
    }

    func noteNamed(_ id: ObjectID) throws(RayStoreError) {
        _ = try record(of: id)
        owned[id]!.isNamed = true
    }

    /// A file has become an object of this node.
    func addFile(_ id: ObjectID, for client: ClientSlot) async throws(RayStoreError) {
        try store.adopt(id)
        owned[id] = OwnedObject()
        try await give(id, to: client)
    }
}
