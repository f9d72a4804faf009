// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// What lies in a spill file is sent to another node, or read in part, without being brought back.
@Suite struct SpilledPartTests {
    private static let block = 4 << 20
    private static let size = 5 * block + 777
    /// Within a block, over its edge, to the end, beyond it, and nothing.
    private static let ranges = [
        0..<1, 3..<block, block - 1..<block + 1, block..<2 * block, size - 1..<size, size - 900..<size + 100, size..<size + 5,
        7..<7,
    ]

    private struct Scene {
        let node: Node
        let owner: Session
        let reader: Session
        let ref: ObjectRef<Bytes>
        let bytes: [UInt8]
        let folder: String

        var counters: SpillCounters {
            get async throws { try #require(await node.spillCounters()) }
        }

        /// The one file.
        func file() throws -> String {
            let files = spillFiles(folder)
            try #require(files.count == 1)
            return folder + "/" + files[0]
        }

        /// Where the object's data begins in the file, by the record's lengths.
        func dataOffset() throws -> Int {
            let lengths = try FileHandle(forReadingFrom: URL(fileURLWithPath: file())).read(upToCount: 16) ?? Data()
            func length(_ at: Int) -> Int { (0..<8).reduce(0) { $0 | Int(lengths[at + $1]) << (8 * $1) } }
            return 24 + length(0) + length(8)
        }

        func flip(_ offset: Int) throws {
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file()))
            try handle.seek(toOffset: UInt64(dataOffset() + offset))
            let byte = try #require(try handle.read(upToCount: 1)?.first)
            try handle.seek(toOffset: UInt64(dataOffset() + offset))
            try handle.write(contentsOf: [byte ^ 4])
            try handle.close()
        }
    }

    /// A large object, spilled and not in memory, and a second node.
    private func withSpilled(_ body: (Scene) async throws -> Void) async throws {
        try await withSpillingAndReader(capacity: 64 << 20) { node, owner, reader, folder in
            let bytes = pattern(Self.size, seed: 5)
            let ref = try owner.put(bytes: bytes)
            _ = await node.freeMemory(64 << 20)
            #expect(try !owner.contains(ref))
            try await body(Scene(node: node, owner: owner, reader: reader, ref: ref, bytes: bytes, folder: folder))
        }
    }

    private func expectPart(_ part: Bytes, _ range: Range<Int>, of whole: [UInt8]) {
        let expected = Array(whole[range.clamped(to: 0..<whole.count)])
        #expect(expected.isEmpty ? part.count == 0 : equal(part, expected), "\(range)")
    }

    @Test func anotherNodeGetsItFromTheFile() async throws {
        try await withSpilled { scene in
            let there = try await scene.reader.open(scene.ref.shared())
            #expect(equal(try await scene.reader.get(there), scene.bytes))
            #expect(try await scene.counters.restoredObjects == 0)
            #expect(try !scene.owner.contains(scene.ref))
        }
    }

    @Test func anotherNodeReadsAPartFromTheFile() async throws {
        try await withSpilled { scene in
            // What is not asked for is not read.
            try scene.flip(2 * Self.block + 5)
            let there = try await scene.reader.open(scene.ref.shared())
            for range in Self.ranges { expectPart(try await scene.reader.read(there, range), range, of: scene.bytes) }
            #expect(try await scene.counters.restoredObjects == 0)
            let file = try scene.file()
            let error = await failure { _ = try await scene.reader.read(there, 2 * Self.block..<2 * Self.block + 1) }
            #expect(error?.code == .corrupt)
            #expect(error?.message.contains(file) == true)
        }
    }

    @Test func aPartIsReadHereWithoutTheRest() async throws {
        try await withSpilled { scene in
            try scene.flip(2 * Self.block + 5)
            for range in Self.ranges { expectPart(try await scene.owner.read(scene.ref, range), range, of: scene.bytes) }
            #expect(try await scene.counters.restoredObjects == 0)
            #expect(try !scene.owner.contains(scene.ref))
            let file = try scene.file()
            let error = await failure { _ = try await scene.owner.read(scene.ref, 2 * Self.block..<2 * Self.block + 1) }
            #expect(error?.code == .corrupt)
            #expect(error?.message.contains(file) == true)
            #expect(try await scene.counters.damagedRecords == 1)
        }
    }

    /// Parts find a store that is full of what is pinned: two of them have what is kept, and the next waits for its turn as everybody does.
    @Test func aPartWaitsForRoomInAFullStore() async throws {
        try await withSpilled { scene in
            var pins: [Bytes] = []
            var isFull = false
            while !isFull {
                let made = Result { () throws(RayStoreError) in try scene.owner.put(bytes: [UInt8](repeating: 1, count: 1 << 20))
                }
                switch made {
                case .success(let ref): pins.append(try await scene.owner.get(ref))
                case .failure(let error):
                    #expect(error.code == .storeFull)
                    isFull = true
                }
            }
            let range = Self.block..<Self.block + 3 << 20
            let held = [try await scene.owner.read(scene.ref, range), try await scene.owner.read(scene.ref, range)]
            async let part = scene.owner.read(scene.ref, range)
            #expect(await eventually { await scene.node.waitingForRoom == 1 })
            #expect(!pins.isEmpty)
            pins.removeAll()
            expectPart(try await part, range, of: scene.bytes)
            for part in held { expectPart(part, range, of: scene.bytes) }
            #expect(try await scene.counters.restoredObjects == 0)
        }
    }

    @Test func mostOfItBringsItBack() async throws {
        try await withSpilled { scene in
            let range = 10..<Self.size - 10
            expectPart(try await scene.owner.read(scene.ref, range), range, of: scene.bytes)
            #expect(try await scene.counters.restoredObjects == 1)
            #expect(try scene.owner.contains(scene.ref))
        }
    }
}
