// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// Links between real nodes that are cut in the middle of a transfer, and back ten seconds later: the get goes on where it was.
@Suite(.enabled(if: TestNetwork.isPossible, "network namespaces need root")) struct LinkCutTests {
    private static let size = 96 << 20
    private static let rate = "100mbit"
    /// Longer than a sender may be silent, a connect may take, and a node is waited for.
    private static let cutFor = Duration.seconds(10)

    /// Head, owner and reader; the link between the last two is the one that is slow.
    private func withNetwork(_ body: (TestNetwork, TestCluster) async throws -> Void) async throws {
        let network = try TestNetwork(places: 3)
        defer { network.remove() }
        let cluster = try await TestCluster(nodes: 3, network: network)
        defer { cluster.end() }
        try await body(network, cluster)
    }

    /// The same with sessions of two of the nodes.
    private func withPair(
        _ first: Int, _ second: Int, _ body: (TestNetwork, TestCluster, _ owner: Session, _ reader: Session) async throws -> Void
    ) async throws {
        try await withNetwork { network, cluster in
            let owner = try await cluster.session(first)
            let reader = try await cluster.session(second)
            try await body(network, cluster, owner, reader)
            await reader.close()
            await owner.close()
        }
    }

    /// Runs a get over the link; cuts it when a part has come, does what the body does, mends it.
    private func cut<Value: Sendable>(
        _ network: TestNetwork, _ a: Int, _ b: Int,
        whileGetting get: @escaping @Sendable (@escaping @Sendable (TransferProgress) -> Void) async throws -> Value,
        meanwhile: () throws -> Void = {}
    ) async throws -> Value {
        try network.slow(a, b, to: Self.rate)
        let done = Mutex(0)
        let running = Task { try await get { progress in done.withLock { $0 = progress.done.bytes } } }
        #expect(await eventually(within: .seconds(60)) { done.withLock { $0 } > Self.size / 4 })
        try network.cut(a, b)
        try meanwhile()
        // The cut is what is tested: it has to last.
        try await Task.sleep(for: Self.cutFor)
        #expect(done.withLock { $0 } < Self.size)
        try network.mend(a, b)
        return try await running.value
    }

    private func sent(_ session: Session, by node: Int, of cluster: TestCluster) async throws -> Int {
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
        return Int(report.nodes[node].sentBytes)
    }

    /// Neither what had arrived is sent again, nor more than what lay in buffers when the link went.
    private func expectLittleMore(_ sent: Int) {
        #expect(sent >= Self.size)
        #expect(sent < Self.size + (24 << 20), "\(sent) bytes for \(Self.size)")
    }

    @Test(.timeLimit(.minutes(3))) func anObjectGoesOnAfterTheCut() async throws {
        try await withPair(1, 2) { network, cluster, owner, reader in
            let expected = pattern(Self.size)
            let ref = try await reader.open(owner.put(bytes: expected).shared())
            let bytes = try await cut(network, 1, 2) { note in
                try await reader.get(ref, timeout: .seconds(100), progress: note)
            }
            let isSame = bytes.withUnsafeBytes { bytes in
                expected.withUnsafeBytes { bytes.count == $0.count && memcmp(bytes.baseAddress!, $0.baseAddress!, $0.count) == 0 }
            }
            #expect(isSame)
            expectLittleMore(try await sent(owner, by: 1, of: cluster))
        }
    }

    @Test(.timeLimit(.minutes(3))) func aFileGoesOnAfterTheCut() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withPair(1, 2) { network, cluster, owner, reader in
            let path = try scratch.file("f", size: Self.size)
            let text = try await owner.put(RayFile(path: path)).shared()
            let ref = try await reader.open(text)
            let file = try await cut(network, 1, 2) { note in
                try await reader.get(ref, timeout: .seconds(100), progress: note)
            }
            #expect(FileManager.default.contentsEqual(atPath: file.path, andPath: path))
            expectLittleMore(try await sent(owner, by: 1, of: cluster))
        }
    }

    /// The reader's node is given up by the head meanwhile, and comes back.
    @Test(.timeLimit(.minutes(3))) func aGetFromTheHeadGoesOnAfterTheCut() async throws {
        try await withPair(0, 2) { network, cluster, owner, reader in
            let expected = pattern(Self.size)
            let own = try owner.put(bytes: expected)
            let ref = try await reader.open(own.shared())
            let bytes = try await cut(network, 0, 2) { note in
                try await reader.get(ref, timeout: .seconds(100), progress: note)
            }
            #expect(bytes.count == Self.size)
            expectLittleMore(try await sent(owner, by: 0, of: cluster))
            withExtendedLifetime(own) {}
        }
    }

    @Test(.timeLimit(.minutes(3))) func aSourceThatChangedDuringTheCutIsAnError() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withPair(1, 2) { network, cluster, owner, reader in
            let path = try scratch.file("f", size: Self.size)
            let own = try await owner.put(RayFile(path: path, enableCopy: false))
            let ref = try await reader.open(own.shared())
            let error = await failure {
                _ = try await cut(
                    network, 1, 2, whileGetting: { note in try await reader.get(ref, timeout: .seconds(100), progress: note) },
                    meanwhile: { try Data(pattern(Self.size, seed: 2)).write(to: URL(fileURLWithPath: path)) })
            }
            #expect(error?.code == .sourceChanged)
            #expect(cluster.files().isEmpty)
        }
    }

    /// A get that has a limit ends at it, cut or not.
    @Test(.timeLimit(.minutes(3))) func aGetEndsAtItsTimeWhileTheLinkIsCut() async throws {
        try await withPair(1, 2) { network, cluster, owner, reader in
            let own = try owner.put(bytes: pattern(Self.size))
            let ref = try await reader.open(own.shared())
            try network.slow(1, 2, to: Self.rate)
            try network.cut(1, 2)
            #expect(await failure { _ = try await reader.get(ref, timeout: .seconds(3)) }?.code == .timedOut)
            try network.mend(1, 2)
            #expect(try await reader.get(ref, timeout: .seconds(60)).count == Self.size)
        }
    }
}
