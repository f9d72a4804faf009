// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Whose wanted object is brought back next: those who ask in turn, and for each one what it asked for first.
///
/// However much one of them wants, another's get waits for at most one pass of each of the others, and for those under way.
struct RestoreTurns: Sendable {
    /// Nil: the node itself, for other nodes and for prefetches.
    typealias Asker = ClientSlot?

    /// Of one asker, those that wait for room in the store included: it must not take all of them.
    static let passesOfOne = 4

    private var askers: [ObjectID: [Asker]] = [:]
    private var order: [Asker] = []
    private var passes: [Asker: Int] = [:]

    /// Somebody wants it: one more, if others do already.
    mutating func add(_ id: ObjectID, for asker: Asker) {
        if askers[id]?.contains(asker) != true { askers[id, default: []].append(asker) }
        if !order.contains(asker) { order.append(asker) }
    }

    /// One more wants what is wanted already; nothing when it is not.
    mutating func join(_ id: ObjectID, for asker: Asker) {
        if askers[id] != nil { add(id, for: asker) }
    }

    /// It is on its way, or nobody wants it any more.
    mutating func remove(_ id: ObjectID) {
        askers[id] = nil
    }

    /// Chooses what a pass begins with, and whose pass it is, among what is wanted in the order in which it was asked for.
    ///
    /// - Returns: nil when there is nothing for those who may have one more pass.
    mutating func next(among ids: some Collection<ObjectID>) -> (place: Int, asker: Asker)? {
        var first: [Asker: Int] = [:]
        for (place, id) in ids.enumerated() {
            for asker in askers[id] ?? [] where first[asker] == nil { first[asker] = place }
            if first.count == order.count { break }
        }
        order.removeAll { first[$0] == nil }
        guard let turn = order.firstIndex(where: { passes[$0, default: 0] < Self.passesOfOne }) else { return nil }
        let asker = order.remove(at: turn)
        order.append(asker)
        passes[asker, default: 0] += 1
        return (first[asker]!, asker)
    }

    mutating func endPass(of asker: Asker) {
        passes[asker, default: 1] -= 1
        if passes[asker] == 0 { passes[asker] = nil }
    }
}
