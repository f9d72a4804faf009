// SPDX-License-Identifier: Apache-2.0
import RayStore
import TestSupport
import Testing

/// Gets of lists whose objects are on several nodes.
@Suite(.serialized) struct ListGetTests {
    private static func bytes(_ index: Int) -> [UInt8] { pattern(200_000 + index, seed: UInt64(index + 1)) }

    @Test func aListFromSeveralNodesComesInTheOrderAsked() async throws {
        try await withCluster(3) { cluster in
            let reader = try await cluster.session(0)
            let writers = [reader, try await cluster.session(1), try await cluster.session(2)]
            var refs: [ObjectRef<Bytes>] = []
            for index in 0..<9 {
                let ref = try writers[index % 3].put(bytes: Self.bytes(index))
                refs.append(index % 3 == 0 ? ref : try await reader.open(ref.shared()))
            }
            // Twice the same, and backwards: the order is the list's, not that of owners or arrivals.
            let order = [8, 0, 4, 4, 1, 7, 3, 2, 6, 5, 0]
            let got = try await reader.get(order.map { refs[$0] }, timeout: .seconds(60))
            #expect(got.map { Array($0) } == order.map(Self.bytes))
            for session in writers { await session.close() }
        }
    }

    /// Owned by one node, but only a third has a copy besides; and read where none is.
    @Test func aListIsReadFromWhereverItsCopiesAre() async throws {
        try await withCluster(3) { cluster in
            let owner = try await cluster.session(0)
            let holder = try await cluster.session(1)
            let reader = try await cluster.session(2)
            var refs: [ObjectRef<Bytes>] = []
            for index in 0..<4 {
                let ref = try owner.put(bytes: Self.bytes(index))
                if index % 2 == 0 { _ = try await holder.get(holder.open(ref.shared())) }
                refs.append(try await reader.open(ref.shared()))
            }
            let got = try await reader.get([refs[3], refs[2], refs[1], refs[0]], timeout: .seconds(60))
            #expect(got.map { Array($0) } == [3, 2, 1, 0].map(Self.bytes))
            for session in [owner, holder, reader] { await session.close() }
        }
    }

    @Test func aListWithALostObjectFailsAndNamesIt() async throws {
        try await withCluster(3) { cluster in
            let reader = try await cluster.session(0)
            let alive = try await cluster.session(1)
            let doomed = try await cluster.session(2)
            let kept = try await reader.open(alive.put(bytes: Self.bytes(1)).shared())
            let own = try reader.put(bytes: Self.bytes(0))
            let lost = try await reader.open(doomed.put(bytes: Self.bytes(2)).shared())
            cluster.members[2].process.end()
            let error = await failure { _ = try await reader.get([own, lost, kept], timeout: .seconds(30)) }
            #expect(error?.code == .ownerDied)
            #expect(error?.object == lost.id)
            #expect(error?.message.contains("\(lost.id)") == true)
            // The others are as good as before.
            let got = try await reader.get([kept, own], timeout: .seconds(30))
            #expect(got.map { Array($0) } == [Self.bytes(1), Self.bytes(0)])
            await alive.close()
            await reader.close()
        }
    }
}
