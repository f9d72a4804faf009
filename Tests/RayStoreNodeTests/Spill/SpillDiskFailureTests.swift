// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// A disk that answers reads of what was spilled with an error. `make test-disk-faults` has it from the kernel's side, under a real node.
@Suite struct SpillDiskFailureTests {
    /// The get has no limit: that it ends at all says that nobody waits for the disk to come to its senses.
    @Test func aRecordThatCannotBeReadIsAnErrorAtOnceAndIsKept() async throws {
        let storage = SwitchedStorage()
        try await withSpilling(capacity: 32 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) })
        {
            node, session, _ in
            let ref = try session.put(bytes: pattern(9 << 20))
            _ = await node.freeMemory(32 << 20)
            let location = try #require(node.spillLocation(of: ref.id))
            storage.isUnreadable = true
            let error = await failure { _ = try await session.get(ref) }
            #expect(error?.code == .system)
            #expect(error?.object == ref.id)
            for part in [location.file, "at byte \(location.offset)", "cannot be read", "Input/output error"] {
                #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
            }
            #expect(storage.unreadableCount == 3)
            // A part says the same.
            #expect(await failure { _ = try await session.read(ref, 0..<100) }?.message == error?.message)
            storage.isUnreadable = false
            #expect(equal(try await session.get(ref), pattern(9 << 20)))
        }
    }

    @Test(arguments: [false, true])
    func anotherNodesCopyMakesUpForADiskThatCannotRead(asPart: Bool) async throws {
        let storage = SwitchedStorage()
        try await withSpillingAndReader(
            capacity: 32 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) }
        ) { node, session, reader, _ in
            let bytes = pattern(9 << 20)
            let ref = try session.put(bytes: bytes)
            let there = try await reader.open(ref.shared())
            _ = try await reader.get(there)
            try await spillAll(of: node, until: { try !session.contains(ref) })
            storage.isUnreadable = true
            if asPart {
                let part = 5 << 20..<5 << 20 + 1000
                #expect(equal(try await session.read(ref, part), Array(bytes[part])))
            } else {
                #expect(equal(try await session.get(ref), bytes))
            }
            // The record is not counted on any more: it is written anew.
            #expect(node.spillLocation(of: ref.id) == nil)
            _ = await node.freeMemory(32 << 20)
            #expect(node.spillLocation(of: ref.id) != nil)
            storage.isUnreadable = false
            #expect(equal(try await session.get(ref), bytes))
        }
    }
}
