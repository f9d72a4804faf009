// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

// Copies that this node gets before anybody here wants them.
//
// The node itself borrows the object: the owner counts it as it counts any borrower, so the object lives as long as the prefetch does, and the copy
// goes with the owner's word that it has ended. Without a ref of a process here the copy goes when the prefetch's time is over, or when it
// is ended, or when the pull has failed.
extension Ownership {
    /// Registers with the object's owner and starts the pull. Asked again it lasts longer, and tries again what has failed.
    ///
    /// - Throws: why there is no such object; `ownerDied`, `unreachable`.
    func prefetch(_ id: ObjectID, keepingFor time: Duration, tuning: TransferTuning) async throws(RayStoreError) {
        let owner = try await jobs.owner(of: id)
        if owner == me {
            _ = try record(of: id)
        } else {
            try await borrow(id, from: owner)
        }
        beginPrefetch(id, keepingFor: time, tuning)
        // From here on it is the prefetch that keeps it.
        if owner != me { borrowed[id]?.openingCount -= 1 }
    }

    private func beginPrefetch(_ id: ObjectID, keepingFor time: Duration, _ tuning: TransferTuning) {
        let earlier = prefetches[id]
        let until = max(clock.now + time, earlier?.keepsCopy == true ? earlier!.until : .zero)
        earlier?.expiry.cancel()
        nextPrefetch += 1
        let serial = earlier?.keepsCopy == true ? earlier!.serial : nextPrefetch
        let expiry = Task {
            try? await clock.sleep(for: until - clock.now)
            if !Task.isCancelled { await self.endPrefetch(id, serial) }
        }
        if earlier?.keepsCopy == true {
            prefetches[id]!.expiry = expiry
            prefetches[id]!.until = until
            return
        }
        let work = Task { await self.work(onPrefetchOf: id, serial, tuning) }
        prefetches[id] = Prefetch(work: work, expiry: expiry, until: until, serial: serial)
    }

    private func work(onPrefetchOf id: ObjectID, _ serial: UInt64, _ tuning: TransferTuning) async {
        do throws(RayStoreError) {
            try await makeLocal(id, lingering: false, tuning: tuning, observer: nil)
            if prefetches[id]?.serial == serial { prefetches[id]!.isHere = true }
        } catch {
            log.debug("not prefetched", metadata: ["object": "\(id)", "reason": "\(error.message)"])
            guard prefetches[id]?.serial == serial else { return }
            prefetches[id]!.failure = PeerFailure(error)
            await settleBorrowed([id])
        }
    }

    /// How a prefetch stands, when it is over or after so long.
    ///
    /// - Returns: nil when the copy is here; `notSealed` while it is on its way; why there is none.
    func prefetchOutcome(of id: ObjectID, within limit: Duration) async -> PeerFailure? {
        let end = clock.now + limit
        while true {
            guard let prefetch = prefetches[id] else {
                let absence = catalog.absence(of: id)
                return PeerFailure(
                    absence.code == .notFound
                        ? RayStoreError(.cancelled, "the prefetch of \(id) was ended", object: id) : absence)
            }
            if prefetch.isHere { return nil }
            if let failure = prefetch.failure { return failure }
            guard clock.now < end, !Task.isCancelled else {
                return PeerFailure(RayStoreError(.notSealed, "object \(id) is on its way to node \(me.short)", object: id))
            }
            try? await clock.sleep(for: .milliseconds(20))
        }
    }

    /// Gives the copy up, unless a process here refers to it. None is not a failure.
    func endPrefetch(_ id: ObjectID) async {
        await endPrefetch(id, nil)
    }

    private func endPrefetch(_ id: ObjectID, _ serial: UInt64?) async {
        guard let prefetch = prefetches[id], serial == nil || prefetch.serial == serial else { return }
        prefetches[id] = nil
        prefetch.expiry.cancel()
        prefetch.work.cancel()
        await settleBorrowed([id])
    }

    func endAllPrefetches() async {
        for id in prefetches.keys { await endPrefetch(id) }
    }

    /// The object has ended here: nothing is to be kept any more. Why, is remembered for who still asks.
    func forgetPrefetch(of id: ObjectID) {
        guard let prefetch = prefetches[id], prefetch.keepsCopy else { return }
        prefetches[id] = nil
        prefetch.expiry.cancel()
        prefetch.work.cancel()
    }
}
