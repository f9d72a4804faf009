// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// One file for many nodes at the same time, between processes: what the source sends, and a node that dies in the middle.
@Suite(.serialized) struct ManyReceiversTests {
    private static let size = 96 << 20

    /// So many nodes; the first owns a file, whose ref's text the body gets.
    private func withFile(
        nodes: Int, _ body: @Sendable (TestCluster, _ owner: Session, _ text: String) async throws -> Void
    ) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withCluster(nodes, memory: "32MiB") { cluster in
            let owner = try await cluster.session(0)
            let ref = try await owner.put(RayFile(path: scratch.file("f", size: Self.size)))
            try await body(cluster, owner, ref.shared().text)
            withExtendedLifetime(ref) {}
            await owner.close()
        }
    }

    private func expectTwoCopiesAtMost(from owner: Session, received copies: UInt64) async throws {
        let nodes = try JSONDecoder().decode(ClusterReport.self, from: Data(try await owner.report("status").utf8)).nodes
        let source = try #require(nodes.first { $0.node.id == owner.nodeID })
        #expect(source.sentBytes <= 2 * UInt64(Self.size), "the source sent \(source.sentBytes) bytes")
        #expect(nodes.reduce(0) { $0 + $1.receivedBytes } >= copies * UInt64(Self.size))
    }

    @Test func fourNodesTakeAtMostTwoCopiesFromTheSource() async throws {
        try await withFile(nodes: 5) { cluster, owner, text in
            try await withThrowingTaskGroup { group in
                for index in 1...4 {
                    group.addTask {
                        let session = try await cluster.session(index)
                        let there: ObjectRef<RayFile> = try await session.open(text)
                        let file = try await session.get(there, timeout: .seconds(60))
                        #expect(try read(file.path) == pattern(Self.size))
                        // Each says what came from whom.
                        let explanation = try #require(try await session.transferExplanation(of: there))
                        #expect(explanation.sources.reduce(0) { $0 + $1.size.bytes } == Self.size, "\(explanation.text)")
                        await session.close()
                    }
                }
                try await group.waitForAll()
            }
            try await expectTwoCopiesAtMost(from: owner, received: 4)
        }
    }

    /// What it has missed may come from the source, which then has sent one copy to the others and one to it.
    @Test func withANodeThatJoinsHalfWayTheSourceSendsTwoCopiesAtMost() async throws {
        try await withFile(nodes: 5) { cluster, owner, text in
            // Slow enough that the last one comes in the middle.
            let tuning = TransferTuning(chunkSize: .mebibytes(1), rateCap: .mebibytes(40))
            let (halfWay, isHalfWay) = AsyncStream.makeStream(of: Void.self)
            try await withThrowingTaskGroup { group in
                for index in 1...4 {
                    group.addTask {
                        let session = try await cluster.session(index)
                        let there: ObjectRef<RayFile> = try await session.open(text)
                        if index == 4 { for await _ in halfWay {} }
                        let file = try await session.get(
                            there, timeout: .seconds(60), tuning: tuning,
                            progress: { if index == 1, $0.fraction >= 0.5 { isHalfWay.finish() } })
                        if index == 1 { isHalfWay.finish() }
                        #expect(try read(file.path) == pattern(Self.size))
                        await session.close()
                    }
                }
                try await group.waitForAll()
            }
            try await expectTwoCopiesAtMost(from: owner, received: 4)
        }
    }

    /// The killed one is a holder for the others, who are referred to it.
    @Test func aReceiverKilledHalfWayLeavesTheOthersToFinish() async throws {
        try await withFile(nodes: 4) { cluster, owner, text in
            let victim = cluster.members[3].process
            // Slow enough that the kill comes in the middle.
            let tuning = TransferTuning(chunkSize: .mebibytes(1), rateCap: .mebibytes(60))
            try await withThrowingTaskGroup { group in
                for index in 1...3 {
                    group.addTask {
                        let session = try await cluster.session(index)
                        let there: ObjectRef<RayFile> = try await session.open(text)
                        guard index != 3 else {
                            let error = await failure {
                                _ = try await session.get(
                                    there, timeout: .seconds(60), tuning: tuning,
                                    progress: { if $0.fraction > 0.3 { victim.signal(SIGKILL) } })
                            }
                            #expect(error?.code == .nodeDied, "\(String(describing: error))")
                            return
                        }
                        let file = try await session.get(there, timeout: .seconds(60), tuning: tuning)
                        #expect(try read(file.path) == pattern(Self.size))
                        await session.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(!victim.isRunning)
        }
    }
}
