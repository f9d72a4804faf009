// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Spill files that somebody altered, cut or removed.
@Suite struct SpillDamageTests {
    /// Where a byte is flipped, counted from the record's beginning: its lengths, the owner, the metadata, the data's first and last.
    @Test(arguments: [0, 16, 80, 81, 200_000, -1])
    func anAlteredRecordIsCorruptAndItsNeighboursAreNot(at place: Int) async throws {
        try await withSpilled { _, node, session, refs in
            let id = refs[1].id
            let location = try #require(node.spillLocation(of: id))
            let at = place < 0 ? location.offset + location.size - 1 : location.offset + UInt64(place)
            try alter(location.file) { bytes in bytes[Int(at)] ^= 1 }
            // The owner is for readers elsewhere; nothing here depends on it.
            let isOwner = place >= 24 && place < 24 + 56
            if isOwner {
                let value = try await session.get(refs[1])
                #expect(equal(value, pattern(300_000, seed: 1)))
            } else {
                let error = await failure { _ = try await session.get(refs[1], timeout: .seconds(30)) }
                #expect(error?.code == .corrupt)
                #expect(error?.message.contains(location.file) == true)
                #expect(error?.message.contains("at byte \(location.offset)") == true)
                // Asked again it says the same, without looking.
                #expect(await failure { _ = try await session.get(refs[1], timeout: .seconds(30)) } == error)
                #expect(await node.spillCounters()?.damagedRecords == 1)
            }
            for number in [0, 2] {
                let value = try await session.get(refs[number])
                #expect(equal(value, pattern(300_000, seed: UInt64(number))))
            }
        }
    }

    @Test func aCutFileIsCorruptFromThereOn() async throws {
        try await withSpilled { _, node, session, refs in
            let location = try #require(node.spillLocation(of: refs[1].id))
            #expect(truncate(location.file, Int(location.offset) + 1000) == 0)
            // Asked for together: what is whole comes all the same.
            async let first = session.get(refs[0])
            let error = await failure { _ = try await session.get(refs[1], timeout: .seconds(30)) }
            #expect(error?.code == .corrupt)
            #expect(error?.message.contains(location.file) == true)
            #expect(error?.message.contains("at byte \(location.offset)") == true)
            let value = try await first
            #expect(equal(value, pattern(300_000, seed: 0)))
        }
    }

    @Test func aFileThatIsGoneIsALostObject() async throws {
        try await withSpilled { _, node, session, refs in
            let location = try #require(node.spillLocation(of: refs[1].id))
            #expect(unlink(location.file) == 0)
            let error = await failure { _ = try await session.get(refs[1], timeout: .seconds(30)) }
            #expect(error?.code == .objectLost)
            #expect(error?.message.contains(location.file) == true)
            #expect(error?.message.contains("at byte \(location.offset)") == true)
            // What has come to be of no use is cleared away all the same.
            try await session.free(refs)
            #expect(await eventually { await node.spillCounters()?.recordCount == 0 })
        }
    }

    @Test func anotherNodesCopyMakesUpForADamagedRecord() async throws {
        try await withSpillingAndReader(capacity: 32 << 20) { node, session, reader, _ in
            let ref = try session.put(bytes: pattern(3 << 20))
            let there = try await reader.open(ref.shared())
            _ = try await reader.get(there)
            try await spillAll(of: node, until: { try !session.contains(ref) })
            let location = try #require(node.spillLocation(of: ref.id))
            try alter(location.file) { bytes in bytes[Int(location.offset) + 5000] ^= 1 }
            do {
                let value = try await session.get(ref, timeout: .seconds(30))
                #expect(equal(value, pattern(3 << 20)))
            }
            // The damaged record is not counted on any more: it is written anew.
            #expect(node.spillLocation(of: ref.id) == nil)
            _ = await node.freeMemory(32 << 20)
            #expect(try !session.contains(ref))
            let again = try await session.get(ref, timeout: .seconds(30))
            #expect(equal(again, pattern(3 << 20)))
        }
    }

    /// A remote get must hear of the damage too, and not wait for its time.
    @Test func anotherNodeHearsOfTheDamage() async throws {
        try await withSpilled { cluster, node, session, refs in
            let location = try #require(node.spillLocation(of: refs[1].id))
            try alter(location.file) { bytes in bytes[Int(location.offset) + 5000] ^= 1 }
            let other = try await cluster.addNode()
            let reader = try await Session.connect(socket: other.socketPath)
            let there = try await reader.open(refs[1].shared())
            let error = await failure { _ = try await reader.get(there, timeout: .seconds(30)) }
            #expect(error?.code == .corrupt)
            #expect(error?.message.contains(location.file) == true)
            // Whoever asks next is told without a look at the file, here too.
            #expect(await node.spillCounters()?.damagedRecords == 1)
            #expect(node.spillLocation(of: refs[1].id) == nil)
            try FileManager.default.removeItem(atPath: location.file)
            let here = await failure { _ = try await session.get(refs[1], timeout: .seconds(30)) }
            #expect(here?.code == .corrupt && here?.message.contains("at byte \(location.offset)") == true)
            let again = await failure { _ = try await reader.get(there, timeout: .seconds(30)) }
            #expect(again?.code == .corrupt)
            await reader.close()
        }
    }

    /// What a remote get finds damaged is had from another copy by all others, and written anew when that is here again.
    @Test func damageFoundWhileSendingIsMadeUpForByACopy() async throws {
        try await withSpilled { cluster, node, session, refs in
            let holder = try await Session.connect(socket: try await cluster.addNode().socketPath)
            let reader = try await Session.connect(socket: try await cluster.addNode().socketPath)
            let held = try await holder.open(refs[1].shared())
            _ = try await holder.get(held)
            let location = try #require(node.spillLocation(of: refs[1].id))
            try alter(location.file) { bytes in bytes[Int(location.offset) + 5000] ^= 1 }
            let there = try await reader.open(refs[1].shared())
            #expect(equal(try await reader.get(there, timeout: .seconds(30)), pattern(300_000, seed: 1)))
            // Either source may have been asked; the next ones have it from the copy.
            #expect(equal(try await session.get(refs[1], timeout: .seconds(30)), pattern(300_000, seed: 1)))
            await holder.close()
            await reader.close()
        }
    }

    private func alter(_ file: String, _ change: (inout [UInt8]) -> Void) throws {
        var bytes = try read(file)
        change(&bytes)
        try Data(bytes).write(to: URL(fileURLWithPath: file))
    }

    /// Three objects in one file, and none of them in the store.
    private func withSpilled(
        _ body: (LocalCluster, Node, Session, [ObjectRef<Bytes>]) async throws -> Void
    ) async throws {
        try await withSpillingCluster(capacity: 32 << 20) { cluster, node, session, _ in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<3 { refs.append(try session.put(bytes: pattern(300_000, seed: UInt64(number)))) }
            _ = await node.freeMemory(32 << 20)
            #expect(Set(refs.compactMap { node.spillLocation(of: $0.id)?.file }).count == 1)
            try await body(cluster, node, session, refs)
        }
    }
}
