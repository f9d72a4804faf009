// SPDX-License-Identifier: Apache-2.0
internal import RayStore

// What the spiller asks: whose the objects are that could make room.
extension Ownership {
    enum Standing: Hashable, Sendable {
        /// This node owns it: it can go when it has a record.
        case primary
        /// Its owner is another node. Kept: somebody asked for the copy beforehand.
        case replica(isKept: Bool)
    }

    /// Whether there may be copies here of objects that others own.
    var hasReplicas: Bool { !borrowed.isEmpty }

    func standings(of ids: [ObjectID]) -> [Standing] {
        ids.map { borrowed[$0] == nil ? .primary : .replica(isKept: prefetches[$0]?.keepsCopy == true) }
    }

    /// Makes sure that the node hears of the end of each of these that it owns.
    ///
    /// - Returns: those that have not ended already.
    func claim(_ ids: [ObjectID]) -> [ObjectID] {
        ids.filter { borrowed[$0] == nil && (try? record(of: $0)) != nil }
    }

    /// Gives up the memory of copies that their owners, or others, have too.
    ///
    /// - Parameter isLastHope: whether owners that did not answer a short while ago are asked as well, and waited for. Else there is another
    ///   way to make room.
    /// - Returns: what each has freed.
    func giveUpReplicas(_ ids: [ObjectID], isLastHope: Bool) async -> [UInt64] {
        var freed: [UInt64] = []
        _ = await letGo(of: isLastHope ? ids : ids.filter { !hasSilentOwner($0) }) { id in
            guard let bytes = store.evict(id) else { return false }
            freed.append(bytes)
            return true
        }
        return freed
    }

    /// Brings a spilled object back; one restore for all who wait, in the turn of each of them.
    func restore(_ id: ObjectID, lingering: Bool, by spiller: Spiller, for asker: ClientSlot?) async throws(RayStoreError) {
        do throws(RayStoreError) {
            await spiller.join(id, for: asker)
            try await restores.fetch(id, lingering: lingering, urgency: .get, observer: nil) { _, _ throws(RayStoreError) in
                try await spiller.restore(id, for: asker)
            }
        } catch {
            // What a damaged record cannot give another node may: whoever wants it looks again.
            if spiller.index.damage(of: id) != nil { return }
            guard Spiller.isDiskFailure(error), await pullSpilled(id, lingering: lingering, for: asker) else { throw error }
        }
    }

    /// Gets from another node what this one's disk cannot read. The record is of no use then: the object is written anew when memory is needed.
    private func pullSpilled(_ id: ObjectID, lingering: Bool, for asker: ClientSlot?) async -> Bool {
        guard owned[id]?.holders.isEmpty == false else { return false }
        do throws(RayStoreError) {
            try await pull(id, owner: me, lingering: lingering, tuning: TransferTuning(), for: asker, observer: nil)
        } catch {
            // The disk's failure says more.
            return false
        }
        spiller.forget(id)
        return true
    }
}
