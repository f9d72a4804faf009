// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

// Files that this node owns and that go to its storage when the disk is short: they may be the only ones, so nobody just drops them.
//
// A moved file's entry is remote, as that of another node's object is; its record says that it is this node's. It comes back when somebody
// gets it, here or from another node.
extension Ownership {
    func setMover(_ mover: FileMover) {
        self.mover = mover
        catalog.moved.onWanted { [weak self] id in
            Task { await self?.bringBackForOthers(id) }
        }
    }

    /// Moves files until so many bytes of them went, least recently used first.
    ///
    /// - Returns: nil when none could go.
    func moveOwn(_ bytes: UInt64) async -> DiskRelief? {
        guard let mover else { return nil }
        var sum: UInt64 = 0
        for id in files.byUse(.copy) where sum < bytes && mayMove(id) {
            if let arrival = files.arrival(of: id), clock.now - arrival < Self.firstUseGrace { return sum > 0 ? .went : .soon }
            let file: MovedFile
            do throws(RayStoreError) {
                file = try await mover.copy(id)
            } catch {
                log.warning("a file was not moved to the storage", metadata: ["object": "\(id)", "reason": "\(error.message)"])
                break
            }
            // Noted before the value goes: whoever finds none asks the note.
            catalog.moved.add(file, as: id)
            guard files.has(id), mayMove(id), store.evict(id) != nil else {
                catalog.moved.remove(id)
                await mover.abandon(file)
                continue
            }
            catalog.stopServing(id)
            publishHolders(of: id)
            await mover.commit(file, as: id)
            sum += file.descriptor.size
        }
        return sum > 0 ? .went : nil
    }

    /// A detached file outlives the storage; what is open, or empty, has nothing to gain.
    private func mayMove(_ id: ObjectID) -> Bool {
        guard let record = owned[id], !record.isDetached, let entry = store.entry(of: id) else { return false }
        return entry.state == .sealed && entry.pinningClients == 0 && (files.descriptor(of: id)?.size ?? 0) > 0
    }

    /// Returns when a moved file is on the disk again: from the storage, or from another node when it is damaged there.
    func bringBack(_ id: ObjectID) async throws(RayStoreError) {
        guard let mover else { return }
        do throws(RayStoreError) {
            if let damage = damageMadeUpFor(id) { throw damage }
            // One for all who wait; who gives up leaves it to come for the next.
            try await restores.fetch(id, lingering: true, urgency: .get, observer: nil) { _, _ throws(RayStoreError) in
                try await mover.restore(id)
            }
        } catch {
            guard damageMadeUpFor(id) != nil else { throw error }
            try await pull(id, owner: me, lingering: true, tuning: TransferTuning(), for: nil, observer: nil)
            await mover.noteCopy(of: id)
        }
        // It may have ended while it came.
        guard owned[id] != nil else {
            await dropValue(of: id, failure: .objectFreed)
            throw catalog.absence(of: id)
        }
    }

    /// A damage in the storage for which another node has a copy.
    private func damageMadeUpFor(_ id: ObjectID) -> RayStoreError? {
        guard catalog.moved.isDamaged(id), owned[id]?.holders.isEmpty == false else { return nil }
        return RayStoreError(.corrupt, "the file of object \(id) is damaged in the storage", object: id)
    }

    private func bringBackForOthers(_ id: ObjectID) async {
        do throws(RayStoreError) {
            try await bringBack(id)
        } catch {
            log.debug("a moved file did not come back", metadata: ["object": "\(id)", "reason": "\(error.message)"])
            catalog.moved.noteFailure(error, of: id)
        }
    }
}
