// SPDX-License-Identifier: Apache-2.0
internal import Foundation
package import Metrics
package import RayStore
package import RayStoreNode
internal import Synchronization

/// Nodes of one process that reach each other by function call: a cluster without a network for control messages. Bulk data goes over
/// loopback, through the real transfer engine.
package final class LocalCluster: Sendable {
    package let control: EmbeddedControlStore
    private let key = ClusterKey.random()
    private let directory: String
    private let state = Mutex(State())

    private struct State {
        var nodes: [NodeID: Node] = [:]
        var unreachable: Set<NodeID> = []
        var silent: Set<NodeID> = []
    }

    package init() async throws {
        directory = temporaryFolder() + "/raystore-local-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        var timing = EmbeddedControlStore.Timing()
        timing.deadAfter = .seconds(3600)
        control = try await EmbeddedControlStore.open(path: nil, ownNode: nil, timing: timing)
    }

    /// Starts a node and returns when all nodes know each other.
    ///
    /// - Parameter control: what the node asks instead of the cluster's control store, which it must lead to.
    package func addNode(
        capacity: UInt64 = 64 << 20, control: (any ControlStore)? = nil,
        storage: any ExternalStorage = NoExternalStorage(), isHead: Bool = false,
        metrics: (any MetricsFactory)? = nil, clock: any NodeClock = SystemClock(),
        configure: (inout NodeOptions) -> Void = { _ in }
    ) async throws -> Node {
        let id = NodeID.random()
        var options = NodeOptions(stateDirectory: directory + "/" + id.short, capacity: capacity)
        options.bindHost = "127.0.0.1"
        // Memory is taken as it is used: with hundreds of nodes in one process the usual share of each would be all of the machine's.
        options.prefault = 0
        options.diskReserve = 0
        options.diskWatermark = 1
        configure(&options)
        let node = try await Node.start(
            options, id: id, advertisedHost: "127.0.0.1", controlPort: 0, key: key, control: control ?? self.control,
            transport: LocalTransport(cluster: self, me: id), clock: clock, storage: storage,
            isHead: isHead, metrics: metrics)
        state.withLock { $0.nodes[id] = node }
        return node
    }

    package func stateDirectory(of node: Node) -> String {
        directory + "/" + node.description.id.short
    }

    /// Control messages to the node are lost until it is mended.
    package func cut(_ node: Node) {
        _ = state.withLock { $0.unreachable.insert(node.description.id) }
    }

    package func mend(_ node: Node) {
        _ = state.withLock { $0.unreachable.remove(node.description.id) }
    }

    /// Control messages to the node have no answer until it is heard again: they arrive then.
    package func silence(_ node: Node) {
        _ = state.withLock { $0.silent.insert(node.description.id) }
    }

    package func hear(_ node: Node) {
        _ = state.withLock { $0.silent.remove(node.description.id) }
    }

    /// Every file under every node's state directory that belongs to an object.
    package func files() -> [String] {
        let all = FileManager.default.enumerator(atPath: directory)?.compactMap { $0 as? String } ?? []
        return all.filter { $0.contains("/jobs/") || $0.contains("/partial/") }
            .filter { path in
                var isDirectory = ObjCBool(false)
                return FileManager.default.fileExists(atPath: directory + "/" + path, isDirectory: &isDirectory)
                    && !isDirectory.boolValue
            }
    }

    package func stop() async {
        for node in state.withLock({ Array($0.nodes.values) }) { await node.stop() }
        await control.close()
        try? FileManager.default.removeItem(atPath: directory)
    }

    private struct LocalTransport: Transport {
        let cluster: LocalCluster
        let me: NodeID

        func call(_ request: PeerRequest, on node: NodeDescription) async throws(RayStoreError) -> PeerAnswer {
            let began = ContinuousClock.now
            while cluster.state.withLock({ $0.silent.contains(node.id) }) {
                // Longer than any test; whoever still asks then was not cancelled when its node stopped.
                guard ContinuousClock.now - began < .seconds(120) else {
                    throw RayStoreError(.unreachable, "node \(node.id.short) does not answer")
                }
                do { try await Task.sleep(for: .milliseconds(10)) } catch {
                    throw RayStoreError(.cancelled, "the question to node \(node.id.short) was given up")
                }
            }
            let target = cluster.state.withLock { state in
                state.unreachable.contains(node.id) || state.unreachable.contains(me) ? nil : state.nodes[node.id]
            }
            guard let target else { throw RayStoreError(.unreachable, "node \(node.id.short) cannot be reached") }
            return try await target.handle(request, from: me)
        }
    }
}

/// Runs a test with nodes that reach each other, and a session on each.
package func withNodes(
    _ count: Int, configure: (inout NodeOptions) -> Void = { _ in },
    _ body: (LocalCluster, [Node], [Session]) async throws -> Void
) async throws {
    let cluster = try await LocalCluster()
    var nodes: [Node] = []
    var sessions: [Session] = []
    do {
        for _ in 0..<count {
            let node = try await cluster.addNode(configure: configure)
            nodes.append(node)
            sessions.append(try await Session.connect(socket: node.socketPath))
        }
        try await body(cluster, nodes, sessions)
    } catch {
        for session in sessions { await session.close() }
        await cluster.stop()
        throw error
    }
    for session in sessions { await session.close() }
    await cluster.stop()
}
