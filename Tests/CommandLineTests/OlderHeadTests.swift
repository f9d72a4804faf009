// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

@testable import RayStoreCluster

/// Nodes that are started for a head of before heads said what the cluster is.
@Suite struct OlderHeadTests {
    /// Such a head, and a folder for a node.
    private func withHead(version: String?, _ body: (_ start: [String], _ directory: String) async throws -> Void) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let key = try ClusterKey.create(scratch.path + "/cluster.key")
        let store = try await EmbeddedControlStore.open(path: nil, ownNode: nil, libraryVersion: version)
        let server = try await ControlServer.start(host: "127.0.0.1", port: 0, key: key, control: OlderControl(store))
        let result: Result<Void, any Error>
        do {
            let start = [
                "start", "--address", "127.0.0.1:\(server.port)", "--key-file", "cluster.key", "--state-dir", "n", "--memory",
                "32MiB",
            ]
            result = .success(try await body(start, scratch.path))
        } catch {
            result = .failure(error)
        }
        await store.close()
        await server.stop()
        try result.get()
    }

    @Test func oneOfAnotherVersionIsNamedWithItsVersion() async throws {
        try await withHead(version: "0.0.9") { start, directory in
            let outcome = try await Tool.run(start, in: directory)
            #expect(outcome.status != 0)
            #expect(outcome.errors.contains("the cluster runs 0.0.9"), "\(outcome.errors)")
        }
    }

    @Test func aNodeWithAStorageOfItsOwnJoinsIt() async throws {
        try await withHead(version: nil) { start, directory in
            let outcome = try await Tool.run(start, in: directory)
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(try await Tool.run(["stop", "--state-dir", "n"], in: directory).status == 0)
        }
    }
}

/// Answers as a head does that has no method `Cluster`.
private final class OlderControl: ControlStore {
    private let real: EmbeddedControlStore

    init(_ real: EmbeddedControlStore) {
        self.real = real
    }

    func clusterInfo() async throws(RayStoreError) -> ClusterInfo {
        throw RayStoreError(.protocolError, "the head does not serve Cluster")
    }
    func join(_ node: NodeDescription) async throws(RayStoreError) -> NodeDescription { try await real.join(node) }
    func leave(_ node: NodeID) async throws(RayStoreError) { try await real.leave(node) }
    func heartbeat(_ node: NodeID) async throws(RayStoreError) -> Bool { try await real.heartbeat(node) }
    func nodes() async throws(RayStoreError) -> [NodeDescription] { try await real.nodes() }
    func missingNodes() async throws(RayStoreError) -> [NodeID] { try await real.missingNodes() }
    func beginJob(driverNode: NodeID, namespace: String?) async throws(RayStoreError) -> JobRecord {
        try await real.beginJob(driverNode: driverNode, namespace: namespace)
    }
    func endJob(_ job: JobID) async throws(RayStoreError) { try await real.endJob(job) }
    func job(_ job: JobID) async throws(RayStoreError) -> JobRecord? { try await real.job(job) }
    func bind(_ name: String, in namespace: String, to object: ObjectID) async throws(RayStoreError) {
        try await real.bind(name, in: namespace, to: object)
    }
    func find(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID {
        try await real.find(name, in: namespace)
    }
    func unbind(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID {
        try await real.unbind(name, in: namespace)
    }
    func unbindAll(of object: ObjectID) async throws(RayStoreError) { try await real.unbindAll(of: object) }
    func names(in namespace: String?) async throws(RayStoreError) -> [NameRecord] { try await real.names(in: namespace) }
    func events() -> AsyncStream<ClusterEvent> { real.events() }
}
