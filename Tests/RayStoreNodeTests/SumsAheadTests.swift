// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Who computes the checksums of what nodes send each other.
@Suite struct SumsAheadTests {
    /// What each node says of its checksums, in the order of their sessions.
    private func sums(_ session: Session, of node: Node) async throws -> SumsReport {
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
        return try #require(report.nodes.first { $0.node.id == node.description.id }?.sums)
    }

    @Test func theFirstGetOfWhatLayForAWhileHashesNothing() async throws {
        let size = 9 << 20
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(size))
            #expect(
                try await eventually {
                    let now = try await sums(sessions[0], of: nodes[0])
                    return now.aheadBytes == UInt64(size) && now.pendingCount == 0 && now.pendingBytes == 0
                })
            let opened = try await sessions[1].open(ref.shared())
            #expect(try await Array(sessions[1].get(opened)) == pattern(size))
            #expect(try await sums(sessions[0], of: nodes[0]).hashedBytes == 0)
            // Received is verified: its sums are known.
            #expect(try await sums(sessions[1], of: nodes[1]).aheadBytes == 0)
        }
    }

    @Test func aNodeThatIsToldSoHashesWhenItSends() async throws {
        let size = 9 << 20
        try await withNodes(2) {
            $0.sumsAhead = false
        } _: { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(size))
            let opened = try await sessions[1].open(ref.shared())
            #expect(try await Array(sessions[1].get(opened)) == pattern(size))
            let now = try await sums(sessions[0], of: nodes[0])
            #expect(now.hashedBytes == UInt64(size) && now.aheadBytes == 0 && now.pendingCount == 0)
        }
    }

    /// From 64 MiB on: what is smaller may still be in the caches when it is read.
    @Test(arguments: [64 << 20, 64 << 20 - 1]) func aLargeObjectIsHashedByWhoPutsIt(size: Int) async throws {
        try await withNodes(2) {
            $0.capacity = 256 << 20
            $0.sumsAhead = false
        } _: { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(size))
            let given = size < 64 << 20 ? 0 : UInt64(size)
            #expect(try await eventually { try await sums(sessions[0], of: nodes[0]).givenBytes == given })
            let opened = try await sessions[1].open(ref.shared())
            let come = try await Array(sessions[1].get(opened))
            #expect(come == pattern(size))
            #expect(try await sums(sessions[0], of: nodes[0]).hashedBytes == UInt64(size) - given)
        }
    }

    // MARK: Files

    private static let fileSize = 9 << 20

    /// Puts a file, gets it on the other node, and tells what the first one hashed for it.
    private func hashedToPass(
        _ file: RayFile, from giver: (node: Node, session: Session), to taker: Session
    ) async throws -> UInt64 {
        let before = try await sums(giver.session, of: giver.node).hashedBytes
        let ref = try await giver.session.put(file)
        let copy = try await taker.get(taker.open(ref.shared()))
        #expect(try read(copy.path) == read(file.path))
        let after = try await sums(giver.session, of: giver.node).hashedBytes
        withExtendedLifetime((ref, copy)) {}
        return after - before
    }

    private static func hasBeenThereForAMoment(_ path: String) -> Bool {
        var (info, now) = (stat(), timespec())
        guard stat(path, &info) == 0, clock_gettime(CLOCK_REALTIME, &now) == 0 else { return false }
        return (now.tv_sec - info.st_ctim.tv_sec) * 1000 + (now.tv_nsec - info.st_ctim.tv_nsec) / 1_000_000 > 50
    }

    @Test func aFileThatLayForAWhileIsNotHashedWhenItIsSent() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = try scratch.file("data", size: Self.fileSize)
        try await withNodes(2) { _, nodes, sessions in
            let ref = try await sessions[0].put(RayFile(path: path))
            #expect(
                try await eventually {
                    let now = try await sums(sessions[0], of: nodes[0])
                    return now.aheadBytes == UInt64(Self.fileSize) && now.pendingCount == 0
                })
            let copy = try await sessions[1].get(sessions[1].open(ref.shared()))
            #expect(try read(copy.path) == read(path))
            #expect(try await sums(sessions[0], of: nodes[0]).hashedBytes == 0)
        }
    }

    @Test(arguments: [true, false])
    func aFileIsHashedOnceForAllLivesOfItsNode(copies: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = try scratch.file("data", size: Self.fileSize)
        let file = RayFile(path: path, enableCopy: copies)
        let cluster = try await LocalCluster()
        let taker = try await Session.connect(socket: cluster.addNode().socketPath)
        for life in 0..<2 {
            let node = try await cluster.addNode {
                $0.stateDirectory = scratch.path + "/state"
                $0.sumsAhead = false
            }
            let session = try await Session.connect(socket: node.socketPath)
            let giver = (node: node, session: session)
            #expect(try await hashedToPass(file, from: giver, to: taker) == (life == 0 ? UInt64(Self.fileSize) : 0))
            // As another object of the same node, too. The list has it some time after the transfer has ended.
            #expect(try await eventually { try await hashedToPass(file, from: giver, to: taker) == 0 })
            await session.close()
            await node.stop()
        }
        await taker.close()
        await cluster.stop()
    }

    @Test func aFileThatWasChangedIsHashedAnew() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = try scratch.file("data", size: Self.fileSize)
        let file = RayFile(path: path, enableCopy: false)
        try await withNodes(2) {
            $0.sumsAhead = false
        } _: { _, nodes, sessions in
            let giver = (node: nodes[0], session: sessions[0])
            #expect(try await hashedToPass(file, from: giver, to: sessions[1]) == UInt64(Self.fileSize))
            #expect(try await eventually { try await hashedToPass(file, from: giver, to: sessions[1]) == 0 })
            for seed in UInt64(2)...3 {
                _ = try scratch.file("data", size: Self.fileSize, seed: seed)
                #expect(try await hashedToPass(file, from: giver, to: sessions[1]) == UInt64(Self.fileSize))
            }
        }
    }

    @Test func whatANodeHasPulledIsNotHashedWhenItSendsItOn() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = try scratch.file("data", size: Self.fileSize)
        try await withNodes(3) {
            $0.sumsAhead = false
        } _: { _, nodes, sessions in
            let ref = try await sessions[0].put(RayFile(path: path))
            let pulled = try await sessions[1].get(sessions[1].open(ref.shared()))
            // Younger, its times could not tell it from what it may be next.
            #expect(await eventually { Self.hasBeenThereForAMoment(pulled.path) })
            // As an object of its own, so that there is nobody else to have it from.
            #expect(try await hashedToPass(pulled, from: (nodes[1], sessions[1]), to: sessions[2]) == 0)
            #expect(try read(pulled.path) == read(path))
        }
    }
}
