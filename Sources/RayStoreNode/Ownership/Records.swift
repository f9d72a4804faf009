// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// What the owner's node knows of an object that others may know too. An object that only its own node's processes have seen has no
/// record: its life is a matter of shared memory alone.
struct OwnedObject {
    /// Other nodes that hold refs.
    var borrowers: Set<NodeID> = []
    /// Other nodes that have a complete copy.
    var holders: Set<NodeID> = []
    /// Nodes that had a complete copy when the cluster gave them up, the latest last: one whose link was cut comes back with it.
    var lostHolders: [NodeID] = []
    /// Refs that were passed on and not opened yet, by who passed them; each until its time.
    var shares: [Sharer: [Duration]] = [:]
    /// Objects that this one contains, and so keeps alive.
    var contains: [ObjectID] = []
    /// How many objects contain this one.
    var containerCount = 0
    var isDetached = false
    var isNamed = false

    /// Whether anyone but a process of this node wants it.
    var isWanted: Bool {
        isDetached || containerCount > 0 || !borrowers.isEmpty || !shares.isEmpty
    }

    mutating func addHolder(_ node: NodeID) {
        holders.insert(node)
        lostHolders.removeAll { $0 == node }
    }

    mutating func removeHolder(_ node: NodeID) {
        holders.remove(node)
        lostHolders.removeAll { $0 == node }
    }

    /// The cluster has given the node up.
    mutating func loseHolder(_ node: NodeID) {
        guard holders.remove(node) != nil else { return }
        lostHolders.removeAll { $0 == node }
        lostHolders.append(node)
    }

    /// One of the refs in flight has arrived.
    mutating func useUpShare() {
        guard let sharer = shares.min(by: { ($0.value.first ?? .zero) < ($1.value.first ?? .zero) })?.key else { return }
        shares[sharer]!.removeFirst()
        if shares[sharer]!.isEmpty { shares[sharer] = nil }
    }

    /// Drops the shares whose time is over.
    mutating func expireShares(now: Duration) {
        shares = shares.compactMapValues { ends in
            let left = ends.filter { $0 > now }
            return left.isEmpty ? nil : left
        }
    }
}

/// A session, of any node, that passed a ref on.
struct Sharer: Hashable {
    let node: NodeID
    let session: UInt64
}

/// What a node knows of another node's object while one of its own processes, or an object of its own, refers to it.
struct BorrowedObject {
    let owner: NodeID
    /// Tells whether the owner has counted this node.
    let registration: Task<PeerFailure?, Never>
    /// Opens of local sessions under way.
    var openingCount = 0
    /// How many objects of this node contain it.
    var containerCount = 0
}
