// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// A store that is full of what nobody gives up, with a storage behind it.
@Suite struct RoomSpillTests {
    /// Eight clients put eight times what the store holds, by `put(within:)` alone, and read all of it.
    @Test func manyClientsPutMoreThanTheStoreHoldsAndKeepIt() async throws {
        try await withSpillingStore { node in
            var sessions: [Session] = []
            for _ in 0..<8 { sessions.append(try await Session.connect(socket: node.socketPath)) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, session) in sessions.enumerated() {
                    group.addTask {
                        var refs: [(ref: ObjectRef<Bytes>, seed: UInt64)] = []
                        for round in 0..<16 {
                            let seed = UInt64(number * 100 + round)
                            refs.append((try await session.put(bytes: pattern(2 << 20, seed: seed), within: .seconds(60)), seed))
                        }
                        for (ref, seed) in refs {
                            let isRight = equal(try await session.get(ref), pattern(2 << 20, seed: seed))
                            #expect(isRight)
                        }
                    }
                }
                try await group.waitForAll()
            }
            for session in sessions { await session.close() }
        }
    }

    /// A huge object beside small ones that are all spilled for it.
    @Test func aHugeObjectIsServedFromTheSpiller() async throws {
        try await withSpillingStore { node in
            let session = try await Session.connect(socket: node.socketPath)
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<60 {
                refs.append(try await session.put(bytes: pattern(1 << 20, seed: UInt64(number)), within: .seconds(60)))
            }
            let huge = try await session.put(bytes: pattern(24 << 20, seed: 77), within: .seconds(60))
            #expect(try session.contains(huge))
            for (number, ref) in refs.enumerated() {
                #expect(equal(try await session.get(ref), pattern(1 << 20, seed: UInt64(number))))
            }
            #expect(equal(try await session.get(huge), pattern(24 << 20, seed: 77)))
            await session.close()
        }
    }

    private func withSpillingStore(_ body: (Node) async throws -> Void) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(
            capacity: 32 << 20, storage: FilesystemStorage(directories: [scratch.path], owner: "one"))
        var failure: (any Error)?
        do {
            try await body(node)
            #expect(await node.waitingForRoom == 0)
        } catch {
            failure = error
        }
        await cluster.stop()
        if let failure { throw failure }
    }
}
