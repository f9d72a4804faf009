// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import RayStoreNode
internal import Synchronization

/// Reaches other nodes over gRPC: a connection for each, kept while the node lives.
final class GRPCTransport: Transport {
    private let sender: NodeID
    private let key: ClusterKey
    private let timeout: Duration
    private let links = Mutex<(isClosed: Bool, open: [NodeID: ControlLink])>((false, [:]))

    init(sender: NodeID, key: ClusterKey, timeout: Duration = .seconds(5)) {
        self.sender = sender
        self.key = key
        self.timeout = timeout
    }

    func call(_ request: PeerRequest, on node: NodeDescription) async throws(RayStoreError) -> PeerAnswer {
        do throws(RayStoreError) {
            return try await link(to: node).call(
                PeerMethods.handle, PeerCall(sender: sender, request: request), timeout: timeout)
        } catch  where error.code == .unreachable {
            throw RayStoreError(.unreachable, "node \(node.id.short): \(error.message)", systemErrno: error.systemErrno)
        }
    }

    /// Closes the connection to a node that is gone.
    func forget(_ node: NodeID) async {
        await links.withLock { $0.open.removeValue(forKey: node) }?.close()
    }

    func close() async {
        let open = links.withLock { links in
            links.isClosed = true
            defer { links.open = [:] }
            return Array(links.open.values)
        }
        await withTaskGroup { group in
            for link in open { group.addTask { await link.close() } }
        }
    }

    /// How many nodes there are connections for, for tests.
    var linkCount: Int { links.withLock { $0.open.count } }

    private func link(to node: NodeDescription) throws(RayStoreError) -> ControlLink {
        let place = HostPort(host: node.host, port: node.controlPort)
        let (link, moved) = try links.withLock { links throws(RayStoreError) -> (ControlLink, ControlLink?) in
            if links.isClosed { throw RayStoreError(.closed, "this node is shutting down") }
            let known = links.open[node.id]
            if let known, known.place == place { return (known, nil) }
            let link = ControlLink(to: place, key: key)
            links.open[node.id] = link
            return (link, known)
        }
        if let moved { Task { await moved.close() } }
        return link
    }
}
