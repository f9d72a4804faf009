// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// The nodes that are alive, as the control store last said.
final class Peers: Sendable {
    private let nodes = Mutex<[NodeID: NodeDescription]>([:])

    func add(_ node: NodeDescription) {
        nodes.withLock { $0[node.id] = node }
    }

    func remove(_ node: NodeID) {
        nodes.withLock { _ = $0.removeValue(forKey: node) }
    }

    subscript(id: NodeID) -> NodeDescription? {
        nodes.withLock { $0[id] }
    }

    subscript(number number: UInt32) -> NodeDescription? {
        nodes.withLock { nodes in nodes.values.first { $0.number == number } }
    }

    var all: [NodeDescription] {
        nodes.withLock { $0.values.sorted { $0.number < $1.number } }
    }
}
