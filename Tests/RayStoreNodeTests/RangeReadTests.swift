// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Parts of objects and files, here and elsewhere: the right bytes, only their chunks on the wire, and nothing left behind.
@Suite struct RangeReadTests {
    private static let chunk = 4 << 20
    private static let size = 3 * chunk + 777
    static let ranges = [
        0..<1, 0..<chunk, chunk - 1..<chunk + 1, chunk..<2 * chunk, 5..<size - 5, size - 1..<size, size - 1..<size + 100,
        size..<size + 1, size + chunk..<size + 2 * chunk, 7..<7, 0..<size, 0..<Int.max,
    ]

    /// By memcmp: element by element it takes most of a test's time.
    private static func isPart(_ bytes: Bytes, _ range: Range<Int>, of whole: [UInt8]) -> Bool {
        let inside = range.clamped(to: 0..<whole.count)
        return bytes.count == inside.count
            && bytes.withUnsafeBytes { bytes in
                whole.withUnsafeBytes {
                    inside.isEmpty || memcmp(bytes.baseAddress!, $0.baseAddress! + inside.lowerBound, inside.count) == 0
                }
            }
    }

    @Test func aPartOfARemoteObjectIsTheSameAndLeavesNothing() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let whole = pattern(Self.size)
            let ref = try sessions[0].put(bytes: whole)
            let there = try await sessions[1].open(ref.shared())
            for range in Self.ranges {
                #expect(Self.isPart(try await sessions[1].read(there, range), range, of: whole), "\(range)")
                #expect(try !sessions[1].contains(there))
            }
            try await expectNothing(on: nodes[1], sessions[1])
        }
    }

    @Test func aPartOfARemoteFileIsTheSameAndLeavesNothing() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withNodes(2) { cluster, nodes, sessions in
            let whole = pattern(Self.size)
            let ref = try await sessions[0].put(RayFile(path: scratch.file("f", size: Self.size)))
            let there = try await sessions[1].open(ref.shared())
            for range in Self.ranges {
                #expect(Self.isPart(try await sessions[1].read(there, range), range, of: whole), "\(range)")
            }
            #expect(cluster.files().count == 1, "the owner's")
            try await expectNothing(on: nodes[1], sessions[1])
        }
    }

    @Test func aPartOfWhatIsHereIsTheSame() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withNodes(1) { _, _, sessions in
            let whole = pattern(Self.size)
            let object = try sessions[0].put(bytes: whole)
            let copied = try await sessions[0].put(RayFile(path: scratch.file("f", size: Self.size)))
            let path = try scratch.file("g", size: Self.size)
            let referenced = try await sessions[0].put(RayFile(path: path, enableCopy: false))
            for range in Self.ranges {
                #expect(Self.isPart(try await sessions[0].read(object, range), range, of: whole))
                #expect(Self.isPart(try await sessions[0].read(copied, range), range, of: whole))
                #expect(Self.isPart(try await sessions[0].read(referenced, range), range, of: whole))
            }
            try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path))
            #expect(await failure { _ = try await sessions[0].read(referenced, 0..<10) }?.code == .sourceChanged)
            #expect(await failure { _ = try await sessions[0].read(object, -1..<10) }?.code == .invalidArgument)
        }
    }

    /// The owner counts what it sends.
    @Test func onlyTheChunksOfThePartCross() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(8 * Self.chunk))
            let there = try await sessions[1].open(ref.shared())
            let bytes = try await sessions[1].read(there, 3 * Self.chunk - 10..<4 * Self.chunk + 10)
            #expect(bytes.count == Self.chunk + 20)
            #expect(try await eventually { try await sent(by: nodes[0], asking: sessions[0]) >= UInt64(3 * Self.chunk) })
            #expect(try await sent(by: nodes[0], asking: sessions[0]) == UInt64(3 * Self.chunk))
        }
    }

    @Test func aPartOutlivesTheObjectAndTheSession() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let whole = pattern(Self.size)
            let ref = try sessions[0].put(bytes: whole)
            let reader = try await Session.connect(socket: nodes[1].socketPath)
            let there = try await reader.open(ref.shared())
            let part = try await reader.read(there, 10..<Self.chunk)
            try await sessions[0].free(ref)
            #expect(await eventually { await failure { _ = try await reader.read(there, 0..<10) }?.code == .objectFreed })
            async let closed: Void = reader.close()
            #expect(Self.isPart(part, 10..<Self.chunk, of: whole))
            _ = consume part
            await closed
        }
    }

    @Test func aReadThatGivesUpLeavesNothing() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(2 * Self.chunk))
            let there = try await sessions[1].open(ref.shared())
            for attempt in 0..<25 {
                let error = await failure {
                    let part = try await sessions[1].read(there, 1..<2 * Self.chunk, timeout: .microseconds(attempt * 150))
                    #expect(part.count == 2 * Self.chunk - 1)
                }
                #expect(error == nil || error?.code == .timedOut, "\(String(describing: error))")
                let task = Task { try await sessions[1].read(there, 1..<2 * Self.chunk).count }
                try? await Task.sleep(for: .microseconds(attempt * 100))
                task.cancel()
                let outcome = await task.result
                if case .failure(let error) = outcome { #expect((error as? RayStoreError)?.code == .cancelled) }
            }
            try await expectNothing(on: nodes[1], sessions[1])
            #expect(try await sessions[1].read(there, 0..<10).count == 10)
        }
    }

    /// A node that has no room says so, and has its room afterwards.
    @Test func aPartThatDoesNotFitSaysSo() async throws {
        try await withNodes(1) { cluster, _, sessions in
            let small = try await cluster.addNode(capacity: 16 << 20)
            let reader = try await Session.connect(socket: small.socketPath)
            let ref = try sessions[0].put(bytes: pattern(32 << 20))
            let there = try await reader.open(ref.shared())
            #expect(await failure { _ = try await reader.read(there, 0..<20 << 20) }?.code == .storeFull)
            #expect(try await reader.read(there, 20 << 20..<30 << 20).count == 10 << 20)
            try await expectNothing(on: small, reader)
            await reader.close()
        }
    }

    @Test func aReadOfWhatWasFreedSaysSo() async throws {
        try await withNodes(2) { _, _, sessions in
            let ref = try sessions[0].put(bytes: pattern(Self.size))
            let there = try await sessions[1].open(ref.shared())
            try await sessions[0].free(ref)
            #expect(await eventually { await failure { _ = try await sessions[1].read(there, 0..<1) }?.code == .objectFreed })
        }
    }

    @Test func aGuardedReaderReadsParts() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let whole = pattern(Self.size)
            let ref = try sessions[0].put(bytes: whole)
            let reader = try await Session.connect(socket: nodes[1].socketPath, access: .guardedReader)
            let there: ObjectRef<Bytes> = try await reader.open(ref.shared().text)
            let part = try await reader.read(there, 100..<Self.chunk + 100)
            #expect(Self.isPart(part, 100..<Self.chunk + 100, of: whole))
            _ = consume part
            await reader.close()
        }
    }

    @Test func whatClientsThatAreKilledHaveReadGoes() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(4 * Self.chunk))
            let text = try await ref.shared().text
            let reader = try TestProcess("raystore-test-client", ["read", nodes[1].socketPath, text, "1", "\(2 * Self.chunk)"])
            defer { reader.end() }
            _ = try #require(await reader.output(until: "ready"))
            #expect(try await used(nodes[1], sessions[1]) > 0)
            reader.end()
            #expect(try await eventually { try await used(nodes[1], sessions[1]) == 0 })
        }
    }

    private func used(_ node: Node, _ session: Session) async throws -> Int {
        try await session.memory().first { $0.node == node.description.id }?.used.bytes ?? -1
    }

    private func sent(by node: Node, asking session: Session) async throws -> UInt64 {
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
        return report.nodes.first { $0.node.id == node.description.id }?.sentBytes ?? 0
    }

    /// The node has no memory in use any more, and no object that is of no job: what a read has left would be one.
    private func expectNothing(on node: Node, _ session: Session) async throws {
        let isClean = try await eventually {
            guard try await used(node, session) == 0 else { return false }
            return try await session.list().allSatisfy { $0.object.job != .none }
        }
        let left = try await session.list()
        #expect(isClean, "\(left)")
    }
}
