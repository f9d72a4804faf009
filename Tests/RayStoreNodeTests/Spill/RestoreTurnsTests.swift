// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// Whose spilled object comes back next when many are wanted.
@Suite struct RestoreTurnsTests {
    private let greedy = ClientSlot(number: 1, serial: 1)
    private let modest = ClientSlot(number: 2, serial: 1)
    private let ids = (0..<100).map { number in ObjectID(bytes: [UInt8](repeating: 0, count: 27) + [UInt8(number)])! }

    @Test func askersTakeTurnsAndEachIsServedInItsOrder() {
        var turns = RestoreTurns()
        var wanted = ids
        for id in ids[..<99] { turns.add(id, for: greedy) }
        turns.add(ids[99], for: modest)
        var served: [ObjectID] = []
        while let next = turns.next(among: wanted) {
            let id = wanted.remove(at: next.place)
            turns.remove(id)
            turns.endPass(of: next.asker)
            served.append(id)
        }
        #expect(served == [ids[0], ids[99]] + ids[1..<99])
    }

    /// Passes that wait for room are the asker's, too.
    @Test func noAskerHasAllPasses() {
        var turns = RestoreTurns()
        var wanted = ids
        for id in ids[..<99] { turns.add(id, for: greedy) }
        for _ in 0..<RestoreTurns.passesOfOne {
            let next = turns.next(among: wanted)
            #expect(next?.asker == greedy)
            if let next { turns.remove(wanted.remove(at: next.place)) }
        }
        #expect(turns.next(among: wanted) == nil)
        turns.add(ids[99], for: modest)
        #expect(turns.next(among: wanted)?.asker == modest)
        turns.endPass(of: greedy)
        #expect(turns.next(among: wanted)?.asker == greedy)
    }

    /// What another has asked for as its last comes in the turn of whoever wants it first.
    @Test func whatTwoWantComesInTheTurnOfEither() {
        var turns = RestoreTurns()
        for id in ids { turns.add(id, for: greedy) }
        turns.join(ids[99], for: modest)
        let first = turns.next(among: ids)
        #expect(first?.place == 0 && first?.asker == greedy)
        let second = turns.next(among: ids)
        #expect(second?.place == 99 && second?.asker == modest)
        // What nobody wants nobody can join.
        var none = RestoreTurns()
        none.join(ids[0], for: modest)
        #expect(none.next(among: ids) == nil)
    }

    /// 200 gets of one client, each of a file of its own, and one of another's: it is among the next that are read.
    @Test func aGreedyClientDoesNotKeepAnothersGetWaiting() async throws {
        let storage = SwitchedStorage()
        try await withSpilling(
            capacity: 32 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) },
            configure: { $0.spill.fileObjects = 1 }
        ) { node, session, _ in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0...200 { refs.append(try session.put(bytes: pattern(20_000, seed: UInt64(number)))) }
            try await spillAll(of: node) { try refs.allSatisfy { try !session.contains($0) } }
            let other = try await Session.connect(socket: node.socketPath)
            let wanted = try await other.open(refs[200].shared())
            let file = try #require(node.spillLocation(of: refs[200].id)?.file)
            storage.isHoldingRestores = true
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask { [ref = refs[number]] in
                        let isRight = equal(try await session.get(ref), pattern(20_000, seed: UInt64(number)))
                        #expect(isRight)
                    }
                }
                #expect(await eventually { await node.wantedFromStorage == 196 })
                group.addTask {
                    let isRight = equal(try await other.get(wanted), pattern(20_000, seed: 200))
                    #expect(isRight)
                }
                #expect(await eventually { await node.wantedFromStorage == 197 })
                storage.isHoldingRestores = false
                try await group.waitForAll()
            }
            // Four were under way; then each has its turn. Reads that begin together are told in any order.
            let place = try #require(storage.restoredFiles.firstIndex(of: file))
            #expect(place >= 4 && place < 12)
            await other.close()
        }
    }
}
