// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// The nodes that are alive, as the control store last said.
///
/// Events say it in order; a node that is met before its event came can be looked up (`refresh`). A look that was answered before a death
/// and arrives after it does not bring the dead back.
final class Peers: Sendable {
    private struct State {
        var nodes: [NodeID: NodeDescription] = [:]
        var gone: Set<NodeID> = []
    }

    private let control: any ControlStore
    private let state = Mutex(State())

    init(control: any ControlStore) {
        self.control = control
    }

    /// An event says that the node is in the cluster (again).
    func add(_ node: NodeDescription) {
        state.withLock { state in
            state.gone.remove(node.id)
            state.nodes[node.id] = node
        }
    }

    /// An event says that the node is not in the cluster any more.
    func remove(_ node: NodeID) {
        state.withLock { state in
            state.nodes[node] = nil
            state.gone.insert(node)
        }
    }

    /// Asks the control store who is there, for when somebody unknown turns up.
    func refresh() async throws(RayStoreError) {
        let nodes = try await control.nodes()
        state.withLock { state in
            for node in nodes where !state.gone.contains(node.id) { state.nodes[node.id] = node }
        }
    }

    /// Whether the node was in the cluster and is not any more.
    func isGone(_ node: NodeID) -> Bool {
        state.withLock { $0.gone.contains(node) }
    }

    subscript(id: NodeID) -> NodeDescription? {
        state.withLock { $0.nodes[id] }
    }

    subscript(number number: UInt32) -> NodeDescription? {
        state.withLock { state in state.nodes.values.first { $0.number == number } }
    }

    var all: [NodeDescription] {
        state.withLock { $0.nodes.values.sorted { $0.number < $1.number } }
    }
}
