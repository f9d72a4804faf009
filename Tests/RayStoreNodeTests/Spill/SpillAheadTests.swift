// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Objects that come back before anybody asks for them, and that give way to everything else.
@Suite struct SpillAheadTests {
    private let size = 1 << 20

    private func putAll(_ count: Int, _ session: Session, _ node: Node) async throws -> [ObjectRef<Bytes>] {
        var refs: [ObjectRef<Bytes>] = []
        for number in 0..<count { refs.append(try await put(pattern(size, seed: UInt64(number)), session, node)) }
        return refs
    }

    @Test func whoGetsObjectsInTheirOrderFindsTheNextOnesThere() async throws {
        try await withSpilling(capacity: 64 << 20) { node, session, _ in
            let refs = try await putAll(128, session, node)
            for (number, ref) in refs.prefix(40).enumerated() {
                #expect(equal(try await session.get(ref), pattern(size, seed: UInt64(number))))
            }
            #expect(await eventually { await node.spillCounters()!.readAheadObjects > 4 })
            let counters = try #require(await node.spillCounters())
            #expect(counters.readAheadUsedObjects > 0 && counters.readAheadUsedObjects <= counters.readAheadObjects)
            #expect(counters.readAheadBytes > counters.readAheadObjects * UInt64(size))
            // No more than a quarter of the store waits to be used.
            let unused = counters.readAheadObjects - counters.readAheadUsedObjects
            #expect(unused <= 16)
        }
    }

    @Test func whoJumpsAboutGetsNothingThatWasNotAskedFor() async throws {
        try await withSpilling(capacity: 64 << 20) { node, session, _ in
            let refs = try await putAll(128, session, node)
            for number in stride(from: 1, to: 60, by: 7) {
                #expect(equal(try await session.get(refs[number]), pattern(size, seed: UInt64(number))))
            }
            #expect(try #require(await node.spillCounters()).readAheadObjects == 0)
        }
    }

    @Test func aNodeThatShallReadNothingAheadDoesNot() async throws {
        try await withSpilling(capacity: 64 << 20, configure: { $0.spill.readAhead = 0 }) { node, session, _ in
            let refs = try await putAll(128, session, node)
            for ref in refs.prefix(40) { _ = try await session.get(ref) }
            #expect(try #require(await node.spillCounters()).readAheadObjects == 0)
        }
    }

    /// What is pinned ends by filling the store, so nothing that was read ahead can stay.
    @Test func whatIsReadAheadGivesWayToWhatIsPut() async throws {
        try await withSpilling(capacity: 64 << 20) { node, session, _ in
            let refs = try await putAll(128, session, node)
            let pinned = try await session.get(Array(refs[..<24]))
            // Reading ahead waits for nothing: without room it is tried again when the next one is got.
            var next = 24
            let isAhead = try await eventually {
                _ = try await session.get(refs[next % refs.count])
                next += 1
                return await node.spillCounters()!.readAheadObjects > 0
            }
            #expect(isAhead)
            let more = try await putAll(26, session, node)
            let pinnedMore = try await session.get(more)
            for (number, value) in pinnedMore.enumerated() { #expect(equal(value, pattern(size, seed: UInt64(number)))) }
            for (number, value) in pinned.enumerated() { #expect(equal(value, pattern(size, seed: UInt64(number)))) }
            #expect(await eventually { node.storeUsedBytes < 51 << 20 })
            withExtendedLifetime((pinned, pinnedMore)) {}
        }
    }

    /// Objects that end while they are read, or wait to be used, are gone for good.
    @Test func whatEndsWhileItIsReadAheadLeavesNothing() async throws {
        try await withSpilling(capacity: 64 << 20) { node, session, folder in
            for _ in 0..<4 {
                var refs = try await putAll(128, session, node)
                for ref in refs.prefix(12) { _ = try await session.get(ref) }
                try await session.free(refs)
                refs = []
                #expect(await eventually { spillFiles(folder).isEmpty })
                #expect(await eventually { node.storeUsedBytes == 0 })
            }
        }
    }
}
