// SPDX-License-Identifier: Apache-2.0
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// Objects that were read ahead and then used while nobody looked: a get of what is here makes no request. The node's clock stands still, so
/// that it looks only when it is told to.
@Suite struct UnnoticedUseTests {
    private static let size = 1 << 20
    private static let capacity: UInt64 = 64 << 20

    private let clock = ManualClock()

    /// - Parameter body: is given objects that all lie in the storage, one behind the other.
    private func withSpilledObjects(
        readAhead: Double, _ body: (Node, Session, [ObjectRef<Bytes>]) async throws -> Void
    ) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(
            capacity: Self.capacity, storage: FilesystemStorage(directories: [scratch.path + "/spill"], owner: "node"),
            clock: clock
        ) { $0.spill.readAhead = readAhead }
        let session = try await Session.connect(socket: node.socketPath)
        do {
            let refs = try (0..<48).map { try session.put(bytes: pattern(Self.size, seed: UInt64($0))) }
            try await spillAll(of: node) { node.storeUsedBytes == 0 }
            try await body(node, session, refs)
        } catch {
            await session.close()
            await cluster.stop()
            throw error
        }
        await session.close()
        await cluster.stop()
    }

    /// Gets what is here, and leaves a trace of it: one that was used since anything was made has another tick.
    private func useWhatIsHere(_ refs: [ObjectRef<Bytes>], _ session: Session) async throws {
        _ = try session.put(bytes: [1])
        for (number, ref) in refs.enumerated() where try session.contains(ref) {
            #expect(equal(try await session.get(ref), pattern(Self.size, seed: UInt64(number))), "\(number)")
        }
    }

    @Test func whatWasUsedUnnoticedGivesItsMemoryUp() async throws {
        try await withSpilledObjects(readAhead: 0.25) { node, session, refs in
            for ref in refs[..<4] { _ = try await session.get(ref) }
            #expect(
                await eventually {
                    let ahead = await node.readAheadNow
                    return ahead.heldBytes > 0 && ahead.comingBytes == 0
                })
            try await useWhatIsHere(refs, session)
            #expect(
                await eventually(within: .seconds(10)) {
                    _ = await node.freeMemory(Self.capacity)
                    return node.storeUsedBytes == 0
                })
            #expect(await node.readAheadNow.heldBytes == 0)
        }
    }

    @Test func whoGoesOnAfterAnUnnoticedUseIsReadAheadForAgain() async throws {
        let limit: UInt64 = 4 << 20
        try await withSpilledObjects(readAhead: Double(limit) / Double(Self.capacity)) { node, session, refs in
            // Until as much is held as may be, and nobody looks at it any more.
            let isFull = try await eventually {
                let ahead = await node.readAheadNow
                if ahead.comingBytes > 0 { return false }
                if ahead.heldBytes + limit / 2 <= limit {
                    let next = try #require(try refs.first { try !session.contains($0) })
                    _ = try await session.get(next)
                } else if ahead.isWatched {
                    clock.advance(by: .seconds(3))
                } else {
                    return true
                }
                return false
            }
            #expect(isFull)
            try await useWhatIsHere(refs, session)
            let before = try #require(await node.spillCounters()).readAheadObjects
            let next = try #require(try refs.first { try !session.contains($0) })
            _ = try await session.get(next)
            #expect(await eventually(within: .seconds(10)) { await node.spillCounters()!.readAheadObjects > before })
        }
    }
}
