// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// What a node says of its memory: sums that add up, whose it is, and how much of it is of use.
@Suite struct MemoryReportTests {
    private func memory(_ session: Session) async throws -> ObjectsReport {
        try JSONDecoder().decode(ObjectsReport.self, from: Data(try await session.report("memory").utf8))
    }

    @Test func objectsAndClientsAddUpToTheMemoryUsed() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let session = sessions[0]
            let small = try session.put(bytes: [UInt8](repeating: 1, count: 1000))
            let large = try session.put(bytes: [UInt8](repeating: 2, count: 2 << 20))
            let other = try await Session.connect(socket: nodes[0].socketPath)
            let copy = try await other.open(small.shared())
            let pinned = try await other.get(copy)
            let report = try await memory(session)
            let node = try #require(report.nodes.first)
            #expect(node.usedBytes + node.freeBytes == node.capacityBytes)
            #expect(report.objects.reduce(0) { $0 + $1.memoryBytes } == node.usedBytes)
            let clients = try #require(report.clients)
            #expect(clients.reduce(0) { $0 + $1.createdBytes } == node.usedBytes)
            #expect(clients.map(\.role) == [.node, .client, .client])
            #expect(clients.map(\.process) == [Int64](repeating: Int64(getpid()), count: 3))
            #expect(clients[1].createdCount == 2)
            #expect(clients[1].refCount == 2)
            #expect(clients[2].createdCount == 0)
            #expect(clients[2].refCount == 1)
            #expect(clients[2].pinnedCount == 1)
            #expect(clients[2].pinnedBytes == node.pinnedBytes)
            #expect(node.pinnedBytes >= 1000)
            let row = try #require(report.objects.first { $0.object == large.id })
            #expect(row.creatorProcess == getpid())
            #expect(row.memoryBytes >= 2 << 20 && row.memoryBytes < (2 << 20) + 8192)
            withExtendedLifetime(pinned) {}
            await other.close()
        }
    }

    @Test func whatAClientThatHasGoneLeavesIsStillCounted() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let other = try await Session.connect(socket: nodes[0].socketPath)
            let ref = try other.put(bytes: [UInt8](repeating: 3, count: 100_000))
            try await other.detach(ref)
            await other.close()
            let gone = try await eventually {
                try await memory(sessions[0]).clients?.contains { $0.role == .gone && $0.createdBytes >= 100_000 } == true
            }
            #expect(gone)
            let report = try await memory(sessions[0])
            #expect(report.clients?.map(\.role) == [.node, .client, .gone])
            #expect(report.clients?.last?.createdCount == 1)
            #expect(report.clients?.last?.process == nil)
            #expect(report.clients?.reduce(0) { $0 + $1.createdBytes } == report.nodes.first?.usedBytes)
            // Its maker is known all the same.
            #expect(report.objects.first { $0.object == ref.id }?.creatorProcess == getpid())
        }
    }

    @Test func everyNodeAnswersForItsOwnClients() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[1].put(bytes: [UInt8](repeating: 4, count: 5000))
            let report = try await memory(sessions[0])
            let rows = Dictionary(grouping: try #require(report.clients), by: \.node)
            #expect(rows.keys.sorted() == nodes.map(\.description.id.short).sorted())
            let there = try #require(rows[nodes[1].description.id.short])
            #expect(there.map(\.role) == [.node, .client])
            #expect(there[1].createdCount == 1)
            #expect(rows[nodes[0].description.id.short]?.allSatisfy { $0.createdCount == 0 } == true)
            let list = try await sessions[0].report("list")
            #expect(try JSONDecoder().decode(ObjectsReport.self, from: Data(list.utf8)).clients == nil)
            withExtendedLifetime(ref) {}
        }
    }

    @Test func holesBetweenObjectsAreUnusableForALargeOne() async throws {
        let session = try await Session.start(capacity: 16 << 20)
        let before = try #require(try await session.memory().first)
        #expect(before.unusableForMebibyte == .zero)
        #expect(before.used + before.free == before.capacity)
        var refs: [ObjectRef<Bytes>?] = []
        for _ in 0..<20 { refs.append(try session.put(bytes: [UInt8](repeating: 5, count: 800 << 10))) }
        for index in stride(from: 0, to: refs.count, by: 2) { refs[index] = nil }
        #expect(
            try await eventually { try await session.memory().first?.objects == 10 }, "the dropped ones have gone")
        let after = try #require(try await session.memory().first)
        #expect(after.used + after.free == after.capacity)
        #expect(after.free > .mebibytes(7))
        #expect(after.unusableForMebibyte == after.free)
        #expect(after.largestFree < .mebibytes(1))
        #expect(after.freeBlocks >= 10)
        #expect(await failure { _ = try session.put(bytes: [UInt8](repeating: 6, count: 1 << 20)) }?.code == .storeFull)
        await session.close()
    }

    @Test func aListedObjectHasItsMakerAndAge() async throws {
        let session = try await Session.start(capacity: 16 << 20)
        let first = try session.put(bytes: [1])
        // The age has steps of a tenth of a second, and is read again until it has taken one.
        let older = try await eventually { try await session.list().first { $0.object == first.id }?.age ?? .zero > .zero }
        #expect(older)
        let second = try session.put(bytes: [2])
        let rows = try await session.list()
        let old = try #require(rows.first { $0.object == first.id })
        let new = try #require(rows.first { $0.object == second.id })
        #expect(old.age > new.age, "\(old.age) and \(new.age)")
        #expect(old.creatorProcess == getpid())
        #expect(new.creatorProcess == getpid())
        #expect(old.memory > .zero && old.memory.bytes % 64 == 0)
        await session.close()
    }
}
