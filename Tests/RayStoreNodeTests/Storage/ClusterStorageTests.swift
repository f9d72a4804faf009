// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// A storage that the cluster's nodes have together: each has a folder there, and the head removes what dead ones have left.
@Suite struct ClusterStorageTests {
    private func storage(_ root: String, owner: String, session: String = "session_1") throws -> any ExternalStorage {
        try StorageConfiguration(json: #"{"type": "ray_storage"}"#).storage(
            for: StorageConfiguration.Node(stateDirectory: "/s", owner: owner, session: session, clusterStorage: root))
    }

    private func spillOne(_ node: Node, _ session: Session, seed: UInt64) async throws -> ObjectRef<Bytes> {
        let ref = try session.put(bytes: pattern(1 << 20, seed: seed))
        #expect(await node.freeMemory(32 << 20) > 0)
        return ref
    }

    /// As a node leaves it that was killed and does not come again.
    private func leaveFile(_ folder: String) throws {
        // Private, as a node makes them: it refuses others.
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try Data("left".utf8).write(to: URL(fileURLWithPath: folder + "/00-multi-1"))
    }

    @Test func theHeadRemovesWhatDeadNodesLeftWhenItIsTheLast() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let root = scratch.path + "/shared"
        let mine = root + "/spilled_objects/session_1"
        let cluster = try await LocalCluster()
        let head = try await cluster.addNode(capacity: 32 << 20, storage: storage(root, owner: "head"), isHead: true)
        let worker = try await cluster.addNode(capacity: 32 << 20, storage: storage(root, owner: "worker"))
        try leaveFile(mine + "/ray_spilled_objects/dead")
        try leaveFile(root + "/spilled_objects/session_2/ray_spilled_objects/other")
        for node in [head, worker] {
            let session = try await Session.connect(socket: node.socketPath)
            _ = try await spillOne(node, session, seed: 1)
            await session.close()
        }
        await worker.stop()
        #expect(!FileManager.default.fileExists(atPath: mine + "/ray_spilled_objects/worker"))
        #expect(spillFiles(mine + "/ray_spilled_objects/dead").count == 1)
        await head.stop()
        #expect(!FileManager.default.fileExists(atPath: mine))
        #expect(spillFiles(root).count == 1)
        await cluster.stop()
    }

    @Test func aHeadThatGoesFirstLeavesTheOthersTheirFiles() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let root = scratch.path + "/shared"
        let cluster = try await LocalCluster()
        let head = try await cluster.addNode(capacity: 32 << 20, storage: storage(root, owner: "head"), isHead: true)
        let worker = try await cluster.addNode(capacity: 32 << 20, storage: storage(root, owner: "worker"))
        let session = try await Session.connect(socket: worker.socketPath)
        let ref = try await spillOne(worker, session, seed: 3)
        await head.stop()
        do {
            let value = try await session.get(ref)
            #expect(equal(value, pattern(1 << 20, seed: 3)))
        }
        await session.close()
        await worker.stop()
        #expect(spillFiles(root).isEmpty)
        await cluster.stop()
    }

    /// A head hears nothing of a worker whose link is cut, or whose process is stopped; the worker lives on, and comes back.
    @Test func aHeadLeavesTheFilesOfANodeThatIsCutOff() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let root = scratch.path + "/shared"
        let cluster = try await LocalCluster()
        let head = try await cluster.addNode(capacity: 32 << 20, storage: storage(root, owner: "head"), isHead: true)
        let worker = try await cluster.addNode(capacity: 32 << 20, storage: storage(root, owner: "worker"))
        let session = try await Session.connect(socket: worker.socketPath)
        let ref = try await spillOne(worker, session, seed: 4)
        // The job ends with the silence; what was detached does not.
        try await session.detach(ref)
        try await cluster.control.lose(worker.description.id)
        await head.stop()
        #expect(spillFiles(root + "/spilled_objects/session_1/ray_spilled_objects/worker").count == 1)
        try await worker.rejoin()
        do {
            let value = try await session.get(ref)
            #expect(equal(value, pattern(1 << 20, seed: 4)))
        }
        await session.close()
        await worker.stop()
        await cluster.stop()
    }

    /// Each node sweeps its own folder at its start, and no other.
    @Test func aNodeSweepsItsOwnFolderAlone() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let folder = scratch.path + "/spilled_objects/session_1/ray_spilled_objects"
        try leaveFile(folder + "/worker")
        try leaveFile(folder + "/another")
        let cluster = try await LocalCluster()
        _ = try await cluster.addNode(capacity: 32 << 20, storage: storage(scratch.path, owner: "worker"))
        #expect(await eventually { spillFiles(folder + "/worker").isEmpty })
        #expect(spillFiles(folder + "/another").count == 1)
        await cluster.stop()
    }

    @Test func theSessionStaysThroughLivesOfTheHead() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        var sessions: [ClusterInfo] = []
        for _ in 0..<2 {
            let store = try await EmbeddedControlStore.open(
                path: scratch.path + "/control.sqlite", ownNode: nil, clusterStorage: "s3://b")
            sessions.append(try await store.clusterInfo())
            await store.close()
        }
        let other = try await EmbeddedControlStore.open(path: nil, ownNode: nil)
        let second = try await other.clusterInfo()
        await other.close()
        #expect(sessions[0] == sessions[1] && sessions[0].storage == "s3://b")
        #expect(second.session != sessions[0].session && second.storage == nil)
        #expect(second.session.hasPrefix("session_") && second.session.count == 24)
    }
}
