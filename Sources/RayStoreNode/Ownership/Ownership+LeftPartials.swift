// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

// What an earlier life of this node had got in part, and nobody has asked for since.
extension Ownership {
    /// Removes those whose objects have ended, as far as their owners can be asked.
    ///
    /// - Parameter isTimeOver: all of them.
    func tidyLeftPartials(isTimeOver: Bool) async {
        let all = files.left.all
        guard !all.isEmpty else { return }
        let ended = isTimeOver ? all : await whichEnded(of: all)
        guard !ended.isEmpty else { return }
        log.debug("remove what came in part", metadata: ["count": "\(ended.count)", "time is over": "\(isTimeOver)"])
        let left = files.left
        _ = try? await runBlocking { left.discard(ended) }
    }

    private func whichEnded(of ids: Set<ObjectID>) async -> Set<ObjectID> {
        var ended: Set<ObjectID> = []
        var byOwner: [NodeID: [ObjectID]] = [:]
        for id in ids where borrowed[id] == nil {
            do throws(RayStoreError) {
                byOwner[try await jobs.owner(of: id), default: []].append(id)
            } catch {
                if [.notFound, .ownerDied].contains(error.code) { ended.insert(id) }
            }
        }
        for (owner, ids) in byOwner {
            if owner == me {
                // What this life of the node owns was never got.
                ended.formUnion(ids)
            } else if case .outcomes(let outcomes)? = try? await links.askAside(owner, .available(ids)),
                outcomes.count == ids.count
            {
                // A loop: the optimizer of Swift 6.3.1 ends with an error on a filter of these pairs.
                for (id, outcome) in zip(ids, outcomes) {
                    if let outcome, !outcome.isPassing { ended.insert(id) }
                }
            }
        }
        return ended
    }
}
