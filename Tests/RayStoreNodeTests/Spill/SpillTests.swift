// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Objects that go to the storage and come back.
@Suite struct SpillTests {
    /// Four times the store's size is put, and every byte is read again.
    @Test(arguments: [200_000, 4 << 20])
    func moreThanTheStoreHoldsComesBack(size: Int) async throws {
        try await withSpilling(capacity: 32 << 20) { node, session, folder in
            let count = (128 << 20) / size
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<count {
                refs.append(try await put(pattern(size, seed: UInt64(number)), session, node))
            }
            let counters = try #require(await node.spillCounters())
            #expect(counters.spilledBytes > 90 << 20)
            #expect(counters.recordCount > 0)
            for (number, ref) in refs.enumerated() {
                let value = try await session.get(ref)
                #expect(equal(value, pattern(size, seed: UInt64(number))))
            }
            // And in the other order, several at once.
            for start in stride(from: count - 4, through: 0, by: -4) {
                let values = try await session.get(Array(refs[start..<start + 4]))
                for (place, value) in values.enumerated() {
                    #expect(equal(value, pattern(size, seed: UInt64(start + place))))
                }
            }
            let after = try #require(await node.spillCounters())
            #expect(after.restoredBytes > 90 << 20)
            try await session.free(refs)
            #expect(await eventually { spillFiles(folder).isEmpty })
        }
    }

    /// When all is to be written, no small file is left for one writer to be busy with while the others have nothing.
    @Test func theLastFilesAreEven() async throws {
        try await withSpillingCluster(
            capacity: 64 << 20,
            configure: {
                $0.spill.fileBytes = 4 << 20
                $0.spill.highWatermark = 1
            }
        ) { _, node, session, folder in
            let refs = try (0..<18).map { try session.put(bytes: pattern(1 << 20, seed: UInt64($0))) }
            _ = await node.freeMemory(32 << 20)
            let sizes = try spillFiles(folder).map { file in
                let size = try FileManager.default.attributesOfItem(atPath: folder + "/" + file)[.size] as? Int
                return (size ?? 0) >> 20
            }
            #expect(sizes.sorted() == [4, 7, 7])
            for (number, ref) in refs.enumerated() {
                #expect(equal(try await session.get(ref, timeout: .seconds(30)), pattern(1 << 20, seed: UInt64(number))))
            }
        }
    }

    /// Two writers are at it, and what one of them has freed the other need not free as well.
    @Test func aHugeRequestWritesWhatItNeedsOnce() async throws {
        try await withSpillingCluster(
            capacity: 64 << 20,
            configure: {
                $0.spill.fileBytes = 2 << 20
                $0.spill.highWatermark = 1
            }
        ) { _, node, session, _ in
            let refs = try (0..<56).map { try session.put(bytes: pattern(1 << 20, seed: UInt64($0))) }
            let huge = try await session.put(bytes: pattern(28 << 20, seed: 77), within: .seconds(60))
            // Writers may still be busy.
            #expect(
                try await eventually {
                    let before = await node.spillCounters()?.spilledBytes
                    try await Task.sleep(for: .milliseconds(300))
                    return await node.spillCounters()?.spilledBytes == before
                })
            // It needs one piece. While a slow writer has some of that, the other goes on behind it, but not for all of it once more.
            #expect(try #require(await node.spillCounters()).spilledBytes <= 44 << 20)
            #expect(try refs.allSatisfy { try session.contains($0) } == false)
            #expect(equal(try await session.get(huge), pattern(28 << 20, seed: 77)))
            for (number, ref) in refs.enumerated() {
                #expect(equal(try await session.get(ref, timeout: .seconds(30)), pattern(1 << 20, seed: UInt64(number))))
            }
        }
    }

    /// Others have made room for the request while both writers were at their first file.
    @Test func nothingIsWrittenForWhoHasRoomAlready() async throws {
        let storage = SwitchedStorage()
        try await withSpillingCluster(
            capacity: 64 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) },
            configure: {
                $0.spill.fileBytes = 2 << 20
                $0.spill.highWatermark = 1
            }
        ) { _, node, session, _ in
            var refs = try (0..<56).map { try session.put(bytes: pattern(1 << 20, seed: UInt64($0))) }
            storage.isStuck = true
            async let put = session.put(bytes: pattern(28 << 20, seed: 77), within: .seconds(60))
            #expect(await eventually { storage.stuckCount == 2 })
            refs.removeSubrange(20...)
            let huge = try await put
            storage.isStuck = false
            #expect(await eventually { await node.spillCounters()?.spilledObjects == 4 })
            #expect(equal(try await session.get(huge), pattern(28 << 20, seed: 77)))
            for (number, ref) in refs.enumerated() {
                #expect(equal(try await session.get(ref, timeout: .seconds(30)), pattern(1 << 20, seed: UInt64(number))))
            }
            #expect(await node.spillCounters()?.spilledObjects == 4)
        }
    }

    /// Both writers look for objects at the same moment, and neither takes what the other has, nor a file that is too small because of it.
    @Test func bothWritersHaveAFileFromTheStart() async throws {
        let storage = SwitchedStorage()
        try await withSpillingCluster(
            capacity: 64 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) },
            configure: {
                $0.spill.fileBytes = 4 << 20
                $0.spill.highWatermark = 1
            }
        ) { _, node, session, folder in
            let refs = try (0..<56).map { try session.put(bytes: pattern(1 << 20, seed: UInt64($0))) }
            storage.isStuck = true
            async let put = session.put(bytes: pattern(14 << 20, seed: 77), within: .seconds(60))
            #expect(await eventually { storage.stuckCount == 2 })
            storage.isStuck = false
            let huge = try await put
            // Their names say it: one of them may be half written.
            let counts = spillFiles(folder).map { Int($0.split(separator: "-").last ?? "") ?? 0 }
            #expect(counts.count > 1 && counts.allSatisfy { $0 >= 4 }, "\(counts)")
            #expect(equal(try await session.get(huge), pattern(14 << 20, seed: 77)))
            for (number, ref) in refs.enumerated() {
                #expect(equal(try await session.get(ref, timeout: .seconds(30)), pattern(1 << 20, seed: UInt64(number))))
            }
        }
    }

    @Test func whatSomebodyReadsKeepsItsMemoryAndIsNotLost() async throws {
        try await withSpilling(capacity: 32 << 20) { node, session, _ in
            let first = try session.put(bytes: pattern(4 << 20, seed: 99))
            let pinned = try await session.get(first)
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<20 { refs.append(try await put(pattern(4 << 20, seed: UInt64(number)), session, node)) }
            #expect(equal(pinned, pattern(4 << 20, seed: 99)))
            #expect(try session.contains(first))
            for (number, ref) in refs.enumerated() {
                let value = try await session.get(ref)
                #expect(equal(value, pattern(4 << 20, seed: UInt64(number))))
            }
        }
    }

    @Test func nothingIsLeftWhenTheObjectsHaveEnded() async throws {
        try await withSpilling(capacity: 32 << 20) { node, session, folder in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<30 { refs.append(try await put(pattern(2 << 20, seed: UInt64(number)), session, node)) }
            #expect(!spillFiles(folder).isEmpty)
            refs.removeAll()
            #expect(await eventually { spillFiles(folder).isEmpty })
            let counters = try #require(await node.spillCounters())
            #expect(counters.recordCount == 0)
            #expect(counters.fileCount == 0)
        }
    }

    @Test func aSpilledObjectIsReadOnAnotherNode() async throws {
        try await withSpillingAndReader(capacity: 32 << 20) { node, session, reader, _ in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<20 { refs.append(try await put(pattern(4 << 20, seed: UInt64(number)), session, node)) }
            #expect(try !session.contains(refs[0]))
            for number in 0..<8 {
                let there = try await reader.open(refs[number].shared())
                let value = try await reader.get(there)
                #expect(equal(value, pattern(4 << 20, seed: UInt64(number))))
            }
        }
    }
}
