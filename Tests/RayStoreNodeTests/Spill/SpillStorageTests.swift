// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Storages that fail, have no room, or take their time.
@Suite struct SpillStorageTests {
    /// One file in ten fails and two in ten hold only a part of their records.
    @Test func anUnstableStorageLosesNothing() async throws {
        try await withSpilling(
            capacity: 32 << 20, storage: { UnstableStorage(FilesystemStorage(directories: [$0], owner: "node")) },
            configure: { $0.spill.fileObjects = 7 }
        ) { node, session, _ in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<400 { refs.append(try await put(pattern(300_000, seed: UInt64(number)), session, node)) }
            for (number, ref) in refs.enumerated() {
                let value = try await session.get(ref)
                #expect(equal(value, pattern(300_000, seed: UInt64(number))))
            }
        }
    }

    /// Nothing that was readable is lost, and work goes on by itself when there is room again.
    @Test func aFullStorageLeavesEverythingReadableAndIsTriedAgain() async throws {
        let storage = SwitchedStorage()
        try await withSpilling(capacity: 32 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) })
        {
            node, session, folder in
            var refs: [Int: ObjectRef<Bytes>] = [:]
            for number in 0..<10 { refs[number] = try await put(pattern(3 << 20, seed: UInt64(number)), session, node) }
            // Some lie in the storage, and must come back when nothing can be written.
            #expect(await eventually { !spillFiles(folder).isEmpty })
            storage.isFull = true
            var refused = 0
            for number in 10..<40 {
                let outcome = Result { () throws(RayStoreError) in
                    try session.put(bytes: pattern(3 << 20, seed: UInt64(number)))
                }
                switch outcome {
                case .success(let ref): refs[number] = ref
                case .failure(let error):
                    #expect(error.code == .storeFull)
                    refused += 1
                    _ = await node.freeMemory(3 << 20)
                }
            }
            #expect(refused > 0)
            for (number, ref) in refs {
                let value = try await session.get(ref, timeout: .seconds(30))
                #expect(equal(value, pattern(3 << 20, seed: UInt64(number))))
            }
            storage.isFull = false
            // The store is beyond its mark: it is written down to the lower one without anybody asking.
            #expect(await eventually(within: .seconds(60)) { node.storeUsedBytes <= UInt64(32 << 20) * 8 / 10 })
            #expect(!spillFiles(folder).isEmpty)
        }
    }

    /// What is written slowly holds up neither those who read what is here nor those who bring something back.
    @Test func aSlowStorageHoldsUpNoGet() async throws {
        let storage = SwitchedStorage()
        try await withSpilling(capacity: 64 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) })
        {
            node, session, _ in
            let spilled = try session.put(bytes: pattern(1 << 20, seed: 1))
            _ = await node.freeMemory(64 << 20)
            #expect(try !session.contains(spilled))
            let victim = try session.put(bytes: pattern(1 << 20, seed: 2))
            storage.isStuck = true
            async let freed = node.freeMemory(64 << 20)
            #expect(await eventually { storage.stuckCount == 1 })
            // Under way, and it stays so: both gets end while it is.
            let here = try await session.get(victim, timeout: .seconds(30))
            #expect(equal(here, pattern(1 << 20, seed: 2)))
            let back = try await session.get(spilled, timeout: .seconds(30))
            #expect(equal(back, pattern(1 << 20, seed: 1)))
            #expect(storage.stuckCount == 1)
            storage.isStuck = false
            _ = await freed
        }
    }

    /// A storage that fails for a moment is asked again within the get's time.
    @Test func aRestoreThatFailsAtFirstIsTriedAgain() async throws {
        let storage = SwitchedStorage()
        try await withSpilling(capacity: 32 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) })
        {
            node, session, _ in
            let ref = try session.put(bytes: pattern(1 << 20))
            _ = await node.freeMemory(32 << 20)
            storage.failingRestores = 3
            do {
                let value = try await session.get(ref, timeout: .seconds(30))
                #expect(equal(value, pattern(1 << 20)))
            }
            #expect(storage.failingRestores == 0)
            // And one that goes on failing ends at its time, without harm to the record.
            _ = await node.freeMemory(32 << 20)
            storage.failingRestores = .max
            #expect(await failure { _ = try await session.get(ref, timeout: .milliseconds(300)) }?.code == .timedOut)
            storage.failingRestores = 0
            let again = try await session.get(ref, timeout: .seconds(30))
            #expect(equal(again, pattern(1 << 20)))
        }
    }

    /// A file that the storage does not give up is tried again until it does.
    @Test func aDeletionThatFailsIsTriedAgain() async throws {
        let storage = SwitchedStorage()
        try await withSpilling(capacity: 32 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) })
        {
            node, session, folder in
            let ref = try session.put(bytes: pattern(1 << 20))
            _ = await node.freeMemory(32 << 20)
            #expect(spillFiles(folder).count == 1)
            storage.failingDeletions = 2
            try await session.free(ref)
            #expect(await eventually(within: .seconds(60)) { spillFiles(folder).isEmpty })
            #expect(storage.failingDeletions == 0)
        }
    }
}
