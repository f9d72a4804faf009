// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Nodes that are killed with -9 while a file comes to them, and started again: what had come is verified and not sent again.
@Suite(.serialized) struct ResumeTests {
    private static let size = 24 << 20
    private static let chunk = 64 << 10
    private static let window = 1 << 20
    private static let slowly = tuning(rate: .mebibytes(6))
    private static let quickly = tuning(rate: nil)

    private static func tuning(rate: ByteCount?) -> TransferTuning {
        TransferTuning(codec: .none, chunkSize: .bytes(chunk), connections: 1, window: .bytes(window), rateCap: rate)
    }

    /// What is left when the second node was killed at some points of a get of the owner's file.
    private struct Scene {
        let cluster: TestCluster
        let owner: Session
        let path: String
        let ref: ObjectRef<RayFile>
        /// What the owner's node had sent before.
        let sentBefore: Int
        /// What had come by the last kill.
        let had: Int
    }

    /// Runs with a node that was killed at these parts of the file, and started again after each.
    private func withKilled(
        at kills: [Double], copied: Bool = true, _ body: (Scene) async throws -> Void
    ) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = try scratch.file("f", size: Self.size)
        try await withCluster(2, memory: "64MiB") { cluster in
            let owner = try await cluster.session(0)
            var scene: Scene?
            // On a machine that is busy the whole file may be there before the kill: then with another object.
            for _ in 0..<5 where scene == nil {
                let ref = try await owner.put(RayFile(path: path, enableCopy: copied))
                let before = try await sent(owner)
                var had: Int? = 0
                for fraction in kills where had != nil { had = try await kill(cluster, at: fraction, of: ref) }
                scene = had.map { Scene(cluster: cluster, owner: owner, path: path, ref: ref, sentBefore: before, had: $0) }
            }
            try await body(try #require(scene, "the file always came before the kill"))
            await owner.close()
        }
    }

    private func partial(_ cluster: TestCluster, _ ref: AnyObjectRef) -> String {
        "\(cluster.members[1].state)/partial/\(ref.id)"
    }

    /// How many chunks the journal lists: 8 bytes each behind a header of 80.
    private func recorded(_ cluster: TestCluster, _ ref: AnyObjectRef) -> Int {
        guard let journal = try? Data(contentsOf: URL(fileURLWithPath: partial(cluster, ref) + ".chunks")), journal.count > 80
        else { return 0 }
        return journal.dropFirst(80).withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count - 7, by: 8)
                .count { bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self) != 0 }
        }
    }

    /// Kills the second node when so much of the file is there, starts it again, and says how much was there; nil for all of it.
    private func kill(_ cluster: TestCluster, at fraction: Double, of ref: ObjectRef<RayFile>) async throws -> Int? {
        let session = try await cluster.session(1)
        let there = try await session.open(ref.shared())
        let get = Task { try await session.get(there, tuning: Self.slowly) }
        let wanted = Int((Double(Self.size / Self.chunk) * fraction).rounded())
        let deadline = ContinuousClock.now + .seconds(60)
        while recorded(cluster, ref) < wanted, ContinuousClock.now < deadline {
            // The journal goes with the end of the pull.
            if try session.contains(there) { break }
            try await Task.sleep(for: .milliseconds(1))
        }
        cluster.members[1].process.end()
        _ = await get.result
        await session.close()
        let count = recorded(cluster, ref)
        try await cluster.restart(1)
        guard count > 0, count < Self.size / Self.chunk else { return nil }
        #expect(count >= wanted)
        return count * Self.chunk
    }

    private func report(_ owner: Session) async throws -> ClusterReport {
        try JSONDecoder().decode(ClusterReport.self, from: Data(try await owner.report("status").utf8))
    }

    private func sent(_ owner: Session) async throws -> Int {
        Int(try #require(try await report(owner).nodes.first).sentBytes)
    }

    @Test(.timeLimit(.minutes(4)), arguments: [[0.5], [0.99], [0.2, 0.4, 0.6, 0.8]])
    func aKilledNodeGoesOnWhereItWas(kills: [Double]) async throws {
        try await withKilled(at: kills) { scene in
            let session = try await scene.cluster.session(1)
            let file = try await session.get(session.open(scene.ref.shared()), timeout: .seconds(60), tuning: Self.quickly)
            #expect(try read(file.path) == pattern(Self.size))
            let sent = try await sent(scene.owner) - scene.sentBefore
            #expect(sent >= Self.size && sent <= Self.size + kills.count * Self.window, "\(sent) bytes for \(Self.size)")
            #expect(scene.cluster.files().allSatisfy { !$0.contains("/partial/") })
            await session.close()
        }
    }

    @Test(.timeLimit(.minutes(4))) func aByteThatWasFlippedMeanwhileCostsItsChunk() async throws {
        try await withKilled(at: [0.5]) { scene in
            let partial = try #require(FileHandle(forUpdatingAtPath: partial(scene.cluster, scene.ref)))
            try partial.seek(toOffset: 100_000)
            try partial.write(contentsOf: Data([~pattern(Self.size)[100_000]]))
            try partial.close()
            let session = try await scene.cluster.session(1)
            let got = try await session.get(session.open(scene.ref.shared()), timeout: .seconds(60), tuning: Self.quickly)
            #expect(try read(got.path) == pattern(Self.size))
            #expect(try await sent(scene.owner) - scene.sentBefore <= Self.size + Self.window + Self.chunk)
            await session.close()
        }
    }

    @Test(.timeLimit(.minutes(4))) func aSourceThatChangedMeanwhileIsAnError() async throws {
        try await withKilled(at: [0.5], copied: false) { scene in
            try Data(pattern(Self.size, seed: 2)).write(to: URL(fileURLWithPath: scene.path))
            let session = try await scene.cluster.session(1)
            let there = try await session.open(scene.ref.shared())
            #expect(await failure { _ = try await session.get(there, timeout: .seconds(60)) }?.code == .sourceChanged)
            #expect(scene.cluster.files().isEmpty)
            await session.close()
        }
    }

    /// What was freed while the node was down is not kept for long, and the status tells of it until then.
    @Test(.timeLimit(.minutes(4))) func whatEndedMeanwhileGoes() async throws {
        try await withKilled(at: [0.5]) { scene in
            let disks = try await report(scene.owner).nodes.compactMap(\.disk).filter { $0.partialFileCount > 0 }
            #expect(disks.map(\.partialFileCount) == [1])
            #expect(disks.allSatisfy { $0.partialFileBytes >= UInt64(scene.had) })
            try await scene.owner.free([scene.ref])
            #expect(await eventually(within: .seconds(60)) { scene.cluster.files().isEmpty })
        }
    }
}
