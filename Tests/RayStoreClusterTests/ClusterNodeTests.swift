// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Testing

@testable import RayStoreCluster

extension OverLoopback {
    /// Whole nodes in one process, on loopback.
    @Suite struct ClusterNodeTests {
        private func options(_ directory: String, keyOf head: ClusterNode? = nil) -> ClusterOptions {
            var options = ClusterOptions(node: NodeOptions(stateDirectory: directory, capacity: 16 << 20))
            options.controlPort = 0
            options.keyFile = head?.keyFile
            return options
        }

        @Test func threeNodesKnowEachOtherAndLeaveInGoodOrder() async throws {
            try await withTemporaryDirectory { directory in
                let head = try await ClusterNode.startHead(options(directory + "/a"))
                let second = try await ClusterNode.join(head.address, options(directory + "/b", keyOf: head))
                let third = try await ClusterNode.join(head.address, options(directory + "/c", keyOf: head))
                #expect(head.isHead && !second.isHead)
                #expect([head, second, third].map(\.node.description.number) == [1, 2, 3])
                #expect(third.address.port == third.node.description.controlPort)
                let transport = GRPCTransport(sender: .random(), key: try ClusterKey.load(head.keyFile))
                for node in [head, second, third] {
                    // Whatever it answers, it is the node that does.
                    await expectAnswer { try await transport.call(.release([]), on: node.node.description) }
                }
                await transport.close()
                await third.stop()
                await third.stop()
                await second.stop()
                await head.stop()
            }
        }

        @Test func aHeadMakesItsKeyOnceAndForItsOwnerOnly() async throws {
            try await withTemporaryDirectory { directory in
                let first = try await ClusterNode.startHead(options(directory + "/a"))
                let text = try String(contentsOfFile: first.keyFile, encoding: .utf8)
                let mode = try FileManager.default.attributesOfItem(atPath: first.keyFile)[.posixPermissions] as? Int
                #expect(mode == 0o600)
                await first.stop()
                let second = try await ClusterNode.startHead(options(directory + "/a"))
                #expect(try String(contentsOfFile: second.keyFile, encoding: .utf8) == text)
                #expect(second.node.description.number == 2)
                await second.stop()
            }
        }

        @Test func joiningWithoutAKeyOrWithAnotherIsRefused() async throws {
            try await withTemporaryDirectory { directory in
                let head = try await ClusterNode.startHead(options(directory + "/a"))
                let missing = await expectFailure(.keyUnusable) {
                    try await ClusterNode.join(head.address, options(directory + "/b"))
                }
                #expect(missing?.message.contains(directory + "/b/cluster.key") == true)
                var other = options(directory + "/b")
                other.keyFile = directory + "/other.key"
                _ = try ClusterKey.create(directory + "/other.key")
                let refused = await expectFailure(.keyRefused) { try await ClusterNode.join(head.address, other) }
                #expect(refused?.message.contains(head.address.description) == true)
                await eventually("it is counted") { head.refusedConnections == 1 }
                await head.stop()
            }
        }

        @Test func aSecondHeadInTheSameDirectoryOrOnTheSamePortIsRefused() async throws {
            try await withTemporaryDirectory { directory in
                let head = try await ClusterNode.startHead(options(directory + "/a"))
                await expectFailure(.inUse) { try await ClusterNode.startHead(options(directory + "/a")) }
                var samePort = options(directory + "/b")
                samePort.controlPort = head.address.port
                let error = await expectFailure(.addressInUse) { try await ClusterNode.startHead(samePort) }
                #expect(error?.message.contains(head.address.description) == true)
                await head.stop()
                // Nothing half-made is left: the same start works now.
                let next = try await ClusterNode.startHead(samePort)
                await next.stop()
            }
        }

        @Test func aWorkerIsToldTheClustersStorage() async throws {
            try await withTemporaryDirectory { directory in
                let shared = directory + "/shared"
                func clustered(_ name: String, _ head: ClusterNode? = nil) -> ClusterOptions {
                    var options = options(directory + "/" + name, keyOf: head)
                    options.makeStorage = { cluster async throws(RayStoreError) in
                        try StorageConfiguration(json: #"{"type": "ray_storage"}"#).storage(
                            for: StorageConfiguration.Node(
                                stateDirectory: directory, owner: "node-" + name, session: cluster.session,
                                clusterStorage: cluster.storage))
                    }
                    return options
                }
                await expectFailure(.invalidArgument) { try await ClusterNode.startHead(clustered("a")) }
                var first = clustered("a")
                first.clusterStorage = shared
                let head = try await ClusterNode.startHead(first)
                let worker = try await ClusterNode.join(head.address, clustered("b", head))
                let sessions = try FileManager.default.contentsOfDirectory(atPath: shared + "/spilled_objects")
                #expect(sessions.count == 1)
                let folder = shared + "/spilled_objects/" + (sessions.first ?? "") + "/ray_spilled_objects"
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["node-a", "node-b"])
                await worker.stop()
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["node-a"])
                await head.stop()
                #expect(try FileManager.default.contentsOfDirectory(atPath: shared).isEmpty)
            }
        }

        @Test func joiningNobodyIsUnreachable() async throws {
            try await withTemporaryDirectory { directory in
                let head = try await ClusterNode.startHead(options(directory + "/a"))
                await head.stop()
                let error = await expectFailure(.unreachable) {
                    try await ClusterNode.join(head.address, options(directory + "/b", keyOf: head))
                }
                #expect(error?.message.contains(head.address.description) == true)
            }
        }

        @Test func listeningEverywhereNeedsAnAddressToTell() async throws {
            try await withTemporaryDirectory { directory in
                var everywhere = options(directory + "/a")
                everywhere.bindHost = "0.0.0.0"
                await expectFailure(.invalidArgument) { try await ClusterNode.startHead(everywhere) }
                everywhere.advertisedHost = "127.0.0.1"
                let head = try await ClusterNode.startHead(everywhere)
                #expect(head.address.host == "127.0.0.1")
                let second = try await ClusterNode.join(head.address, options(directory + "/b", keyOf: head))
                await second.stop()
                await head.stop()
            }
        }

        @Test func aNodeOutlivesARestartOfItsHead() async throws {
            try await withTemporaryDirectory { directory in
                let head = try await ClusterNode.startHead(options(directory + "/a"))
                let worker = try await ClusterNode.join(head.address, options(directory + "/b", keyOf: head))
                await head.stop()
                var again = options(directory + "/a")
                again.controlPort = head.address.port
                let next = try await ClusterNode.startHead(again)
                let control = RemoteControlStore(head: next.address, key: try ClusterKey.load(next.keyFile))
                try await eventually("the worker is there with its number") {
                    try await control.nodes().map(\.id) == [worker.node.description.id, next.node.description.id]
                }
                await control.close()
                await worker.stop()
                await next.stop()
            }
        }

        private func expectAnswer(
            sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> PeerAnswer
        ) async {
            do {
                _ = try await body()
            } catch let error as RayStoreError {
                #expect(error.code != .unreachable, "\(error.message)", sourceLocation: sourceLocation)
            } catch {
                Issue.record("\(error)", sourceLocation: sourceLocation)
            }
        }
    }
}
