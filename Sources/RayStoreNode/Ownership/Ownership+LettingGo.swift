// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

// Copies that go for want of room, of memory or of disk. Their owners are asked first, so that none counts on a copy that is going.
extension Ownership {
    /// How long an owner may take to answer: one that cannot be reached must not hold up what others would allow, or what can be done without any.
    /// The cluster gives up a node that is silent for as long; one that only this node does not reach stays in it.
    private static let ownerPatience = Duration.seconds(2)
    /// For how long an owner that did not answer counts as silent.
    private static let ownerSilence = Duration.seconds(10)

    /// Lets go of the copies among these whose owners allow it. All owners are asked at once, each in its turn with what else it is told, so
    /// that a copy that was just announced is not announced after it went.
    ///
    /// - Parameter drop: makes the copy go; false when it must stay after all, since somebody came to use it meanwhile.
    /// - Returns: how many went.
    func letGo(of ids: [ObjectID], by drop: (ObjectID) async -> Bool) async -> Int {
        var byOwner: [NodeID: [ObjectID]] = [:]
        for id in ids {
            if let owner = borrowed[id]?.owner { byOwner[owner, default: []].append(id) }
        }
        return await withTaskGroup(of: (owner: NodeID, allowed: [ObjectID]).self) { group in
            for (owner, ids) in byOwner {
                group.addTask { (owner, await self.askToLetGo(ids, of: owner)) }
            }
            var count = 0
            for await (owner, allowed) in group {
                for id in allowed where borrowed[id] != nil {
                    if await drop(id) { count += 1 } else { tellHeld([id], to: owner) }
                }
            }
            return count
        }
    }

    /// Whether its owner did not answer when it was last asked, a short while ago.
    func hasSilentOwner(_ id: ObjectID) -> Bool {
        guard let owner = borrowed[id]?.owner, let until = silentOwners[owner] else { return false }
        if clock.now < until { return true }
        silentOwners[owner] = nil
        return false
    }

    /// The copies stay, though their owner may have counted them out.
    private func tellHeld(_ ids: [ObjectID], to owner: NodeID) {
        let kept = ids.filter { borrowed[$0] != nil && store.entry(of: $0)?.state == .sealed }
        if !kept.isEmpty { links.tell(owner, .hold(kept)) }
    }

    /// - Returns: those that the owner has counted out; none when it did not answer in time.
    private func askToLetGo(_ ids: [ObjectID], of owner: NodeID) async -> [ObjectID] {
        await withCheckedContinuation { continuation in
            let first = FirstAnswer(continuation)
            let patience = Task {
                try? await clock.sleep(for: Self.ownerPatience)
                // Not again before the question is answered, or has come to nothing.
                if first.give([]) { silentOwners[owner] = .seconds(Int64.max) }
            }
            Task {
                let answer = try? await links.ask(owner, .letGo(ids))
                patience.cancel()
                guard case .outcomes(let outcomes)? = answer, outcomes.count == ids.count else {
                    if !first.give([]) { silentOwners[owner] = peers[owner] == nil ? nil : clock.now + Self.ownerSilence }
                    // It may have heard all the same.
                    tellHeld(ids, to: owner)
                    return
                }
                let allowed = zip(ids, outcomes).filter { $0.1 == nil }.map(\.0)
                if !first.give(allowed) {
                    silentOwners[owner] = nil
                    tellHeld(allowed, to: owner)
                }
            }
        }
    }

    /// The owner's side: whether a holder may let go, since there is another copy.
    func allowLettingGo(of id: ObjectID, to holder: NodeID) throws(RayStoreError) {
        guard let record = owned[id] else { throw catalog.absence(of: id) }
        if catalog.moved[id] != nil {
            // In the storage: it can be brought back.
        } else if store.entry(of: id)?.state == .sealed {
            // A file that was put by reference and has changed since is only to be had from copies.
            try files.checkUnchanged(id)
        } else if spiller.index.record(of: id) == nil, !record.holders.contains(where: { $0 != holder && peers[$0] != nil }) {
            throw RayStoreError(.inUse, "node \(holder.short) has the last copy of \(id)", object: id)
        }
        owned[id]!.removeHolder(holder)
        publishHolders(of: id)
    }
}

/// Takes the first of two answers.
private final class FirstAnswer: Sendable {
    private let continuation: Mutex<CheckedContinuation<[ObjectID], Never>?>

    init(_ continuation: CheckedContinuation<[ObjectID], Never>) {
        self.continuation = Mutex(continuation)
    }

    /// - Returns: whether it was the first.
    func give(_ allowed: [ObjectID]) -> Bool {
        let first = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        first?.resume(returning: allowed)
        return first != nil
    }
}
