// SPDX-License-Identifier: Apache-2.0
internal import RayStore

// What other nodes ask for and tell.
extension Ownership {
    func handle(_ request: PeerRequest, from sender: NodeID) async throws(RayStoreError) -> PeerAnswer {
        switch request {
        case .borrow(let ids):
            return .outcomes(ids.map { id in outcome { () throws(RayStoreError) in try lend(id, to: sender) } })
        case .release(let ids):
            for id in ids {
                owned[id]?.borrowers.remove(sender)
                owned[id]?.removeHolder(sender)
                publishHolders(of: id)
                await settle(id)
            }
        case .share(let id, let session):
            try noteShare(of: id, by: Sharer(node: sender, session: session))
        case .endShares(let session):
            await endShares(of: Sharer(node: sender, session: session))
        case .hold(let ids):
            let outcomes = ids.map { id in outcome { () throws(RayStoreError) in try noteHolder(of: id, sender) } }
            await offerHolder(of: ids, sender)
            return .outcomes(outcomes)
        case .letGo(let ids):
            return .outcomes(ids.map { id in outcome { () throws(RayStoreError) in try allowLettingGo(of: id, to: sender) } })
        case .available(let ids):
            return .outcomes(ids.map { id in outcome { () throws(RayStoreError) in try requireSealed(id) } })
        case .prefetch(let id, let nanoseconds, let tuning):
            // A failure is an outcome: the node itself has answered.
            do throws(RayStoreError) {
                let tuning = tuning ?? .init(urgency: .prefetch)
                try tuning.check()
                try await prefetch(id, keepingFor: .nanoseconds(nanoseconds), tuning: tuning)
                return .outcomes([nil])
            } catch {
                return .outcomes([PeerFailure(error)])
            }
        case .prefetched(let id, let nanoseconds):
            return .outcomes([await prefetchOutcome(of: id, within: .nanoseconds(min(nanoseconds, 2_000_000_000)))])
        case .endPrefetch(let id):
            await endPrefetch(id)
        case .named(let id):
            try noteNamed(id)
        case .free(let ids):
            for id in ids { try await freeOwned(id) }
        case .detach(let id):
            try await setOwnedDetached(id, true)
        case .remove(let id):
            try await setOwnedDetached(id, false)
        case .gone(let ids, let code, let message):
            await forget(ids, from: sender, RayStoreError(code, message))
        case .report:
            throw RayStoreError(.unsupported, "reports are not ownership's to answer")
        }
        return .done
    }

    private func outcome(_ body: () throws(RayStoreError) -> Void) -> PeerFailure? {
        do throws(RayStoreError) {
            try body()
            return nil
        } catch {
            return PeerFailure(error)
        }
    }

    private func lend(_ id: ObjectID, to borrower: NodeID) throws(RayStoreError) {
        _ = try record(of: id)
        // A node that asks again, because an answer was lost, has used its share up already.
        if owned[id]!.borrowers.insert(borrower).inserted {
            owned[id]!.useUpShare()
        }
    }

    private func noteHolder(of id: ObjectID, _ holder: NodeID) throws(RayStoreError) {
        guard owned[id] != nil else { throw catalog.absence(of: id) }
        owned[id]!.addHolder(holder)
        publishHolders(of: id)
    }

    /// Pulls of this node's own objects hear of a new holder while they run; others ask this node.
    private func offerHolder(of ids: [ObjectID], _ holder: NodeID) async {
        guard let node = peers[holder] else { return }
        for id in ids where owned[id] != nil && store.entry(of: id)?.state != .sealed {
            await pulls.offer(BulkEndpoint(host: node.host, port: node.bulkPort), of: id)
        }
    }

    private func requireSealed(_ id: ObjectID) throws(RayStoreError) {
        switch store.entry(of: id)?.state {
        case .sealed: return
        case .creating:
            // This node may be getting a lost copy back itself, from holders that are gone now.
            throw catalog.waitWithoutRecord(for: id) ?? RayStoreError(.notSealed, "object \(id) is not sealed yet", object: id)
        default:
            if let wait = catalog.waitWithoutRecord(for: id) { throw wait }
            let isKept = spiller.index.isKnown(id) == true || catalog.moved[id] != nil
            guard isKept || owned[id]?.holders.isEmpty == false else {
                throw catalog.absence(of: id)
            }
        }
    }

    /// The owner says that objects are gone.
    private func forget(_ ids: [ObjectID], from owner: NodeID, _ reason: RayStoreError) async {
        for id in ids where borrowed[id]?.owner == owner {
            borrowed[id] = nil
            catalog.noteEnd(of: id, RayStoreError(reason.code, reason.message, object: id))
            await dropValue(of: id, failure: reason.code)
        }
    }
}
