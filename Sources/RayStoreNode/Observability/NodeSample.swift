// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// What the metrics are made of, read at one moment.
struct NodeSample: Sendable {
    var node: NodeReport
    /// Pulls under way.
    var pullCount: Int
    var ownedCount: Int
    var borrowedCount: Int
    /// Clients that went, and whose slots were cleared of what they left, since the node's start.
    var reapedClientCount: UInt64
}

extension NodeRooms {
    /// - Throws: `system` when there can be no thread to look at the store with.
    func sample(reapedClientCount: UInt64) async throws(RayStoreError) -> NodeSample {
        let (owned, borrowed) = await ownership.counts
        return NodeSample(
            node: try await reports.localNode(), pullCount: await pulls.count, ownedCount: owned, borrowedCount: borrowed,
            reapedClientCount: reapedClientCount)
    }
}

extension Ownership {
    /// How many objects this node answers for, and how many it keeps alive at other nodes.
    var counts: (owned: Int, borrowed: Int) { (owned.count, borrowed.count) }
}
