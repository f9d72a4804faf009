// SPDX-License-Identifier: Apache-2.0
package import RayStore
package import RayStoreNode
internal import Synchronization

/// A control store that tells the cluster another bulk port than the node has: a proxy's, made when the node joins.
package final class ProxiedControl: ControlStore {
    private let real: any ControlStore
    private let makeProxy: @Sendable (UInt16) throws -> FlippingProxy
    private let made = Mutex<[FlippingProxy]>([])

    package init(_ real: any ControlStore, proxy: @escaping @Sendable (UInt16) throws -> FlippingProxy) {
        self.real = real
        makeProxy = proxy
    }

    package var proxies: [FlippingProxy] { made.withLock { $0 } }

    package func clusterInfo() async throws(RayStoreError) -> ClusterInfo { try await real.clusterInfo() }

    package func join(_ node: NodeDescription) async throws(RayStoreError) -> NodeDescription {
        var node = node
        do {
            let proxy = try makeProxy(node.bulkPort)
            made.withLock { $0.append(proxy) }
            node.bulkPort = proxy.port
        } catch {
            throw RayStoreError(.system, "\(error)")
        }
        return try await real.join(node)
    }

    package func leave(_ node: NodeID) async throws(RayStoreError) { try await real.leave(node) }
    package func heartbeat(_ node: NodeID) async throws(RayStoreError) -> Bool { try await real.heartbeat(node) }
    package func nodes() async throws(RayStoreError) -> [NodeDescription] { try await real.nodes() }
    package func missingNodes() async throws(RayStoreError) -> [NodeID] { try await real.missingNodes() }
    package func beginJob(driverNode: NodeID, namespace: String?) async throws(RayStoreError) -> JobRecord {
        try await real.beginJob(driverNode: driverNode, namespace: namespace)
    }
    package func endJob(_ job: JobID) async throws(RayStoreError) { try await real.endJob(job) }
    package func job(_ job: JobID) async throws(RayStoreError) -> JobRecord? { try await real.job(job) }
    package func bind(_ name: String, in namespace: String, to object: ObjectID) async throws(RayStoreError) {
        try await real.bind(name, in: namespace, to: object)
    }
    package func find(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID {
        try await real.find(name, in: namespace)
    }
    package func unbind(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID {
        try await real.unbind(name, in: namespace)
    }
    package func unbindAll(of object: ObjectID) async throws(RayStoreError) { try await real.unbindAll(of: object) }
    package func names(in namespace: String?) async throws(RayStoreError) -> [NameRecord] {
        try await real.names(in: namespace)
    }
    package func events() -> AsyncStream<ClusterEvent> { real.events() }
}
