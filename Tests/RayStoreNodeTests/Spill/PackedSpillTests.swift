// SPDX-License-Identifier: Apache-2.0
import CTestSupport
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Objects that are packed on their way to the storage.
@Suite struct PackedSpillTests {
    enum Backend: String, CaseIterable { case directory, table, s3 }

    static let backends = Backend.allCases.filter { $0 != .s3 || S3Server.python != nil }

    private func withPacking(
        _ backend: Backend, capacity: UInt64 = 32 << 20, _ body: (Node, Session) async throws -> Void
    ) async throws {
        switch backend {
        case .directory:
            try await withSpilling(capacity: capacity, configure: { $0.spill.compression = .on }) { node, session, _ in
                try await body(node, session)
            }
        case .table:
            let table = try #require(test_memory_storage())
            defer { free(table) }
            let storage = try UnsafeTableStorage(unsafeTable: table)
            try await withSpilling(capacity: capacity, storage: { _ in storage }, configure: { $0.spill.compression = .on }) {
                node, session, _ in try await body(node, session)
            }
        case .s3:
            // By default.
            let server = try await S3Server()
            defer { server.stop() }
            let storage = try S3Storage(
                locations: [S3Location("s3://spill/packed")], prefix: "p", owner: "n", service: server.service)
            try await withSpilling(capacity: capacity, storage: { _ in storage }) { node, session, _ in
                try await body(node, session)
            }
            #expect(try await storage.files().isEmpty)
        }
    }

    /// Small ones and large ones, ones that shrink and ones that do not.
    private static func bytes(_ number: Int) -> [UInt8] {
        let size = [100_000, 5, 3 << 20, (9 << 20) + 5][number % 4]
        return number % 3 == 2 ? pattern(size, seed: UInt64(number)) : packable(size, seed: UInt64(number))
    }

    @Test(arguments: backends) func moreThanTheStoreHoldsComesBack(_ backend: Backend) async throws {
        try await withPacking(backend) { node, session in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<32 { refs.append(try await put(Self.bytes(number), session, node)) }
            let counters = try #require(await node.spillCounters())
            // The first file in any case; how much of the others depends on how fast the storage is.
            #expect(counters.spilledBytes < counters.spilledOwnBytes)
            #expect(counters.recordBytes < counters.recordOwnBytes)
            for (number, ref) in refs.enumerated() {
                let value = try await session.get(ref, timeout: .seconds(60))
                #expect(equal(value, Self.bytes(number)), "\(number)")
            }
            for start in stride(from: 24, through: 0, by: -8) {
                let values = try await session.get(Array(refs[start..<start + 3]), timeout: .seconds(60))
                for (place, value) in values.enumerated() { #expect(equal(value, Self.bytes(start + place))) }
            }
            #expect(try #require(await node.spillCounters()).restoredObjects > 16)
            try await session.free(refs)
            #expect(await eventually { await node.spillCounters()?.fileCount == 0 })
        }
    }

    @Test(arguments: backends) func aPartIsReadWithoutTheRest(_ backend: Backend) async throws {
        try await withPacking(backend, capacity: 64 << 20) { node, session in
            let block = 4 << 20
            let whole = packable(4 * block + 777, seed: 3)
            let ref = try session.put(bytes: whole)
            _ = await node.freeMemory(64 << 20)
            #expect(try !session.contains(ref))
            for range in [0..<1, 3..<block, block - 1..<block + 1, block..<2 * block, whole.count - 900..<whole.count + 9, 7..<7]
            {
                let expected = Array(whole[range.clamped(to: 0..<whole.count)])
                let part = try await session.read(ref, range)
                #expect(expected.isEmpty ? part.count == 0 : equal(part, expected), "\(range)")
            }
            let counters = try #require(await node.spillCounters())
            #expect(counters.restoredObjects == 0 && counters.recordBytes < counters.recordOwnBytes / 2)
        }
    }

    /// Six parts whose packed bytes need two windows each: all of them would be 96 MiB.
    @Test func partsReadAtOnceShareTheMemoryOfWindows() async throws {
        try await withPacking(.directory, capacity: 192 << 20) { node, session in
            let (block, size) = (4 << 20, 40 << 20)
            // Halves of blocks that shrink to nothing, and halves that do not shrink.
            var mixed = pattern(size, seed: 9)
            for start in stride(from: 0, to: size, by: block) {
                mixed.replaceSubrange(start..<start + block / 2, with: repeatElement(0, count: block / 2))
            }
            let whole = mixed
            let ref = try session.put(bytes: whole)
            _ = await node.freeMemory(192 << 20)
            #expect(try !session.contains(ref))
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<6 {
                    let range = number * (block - 9)..<number * (block - 9) + 19 * (1 << 20)
                    group.addTask { equal(try await session.read(ref, range), Array(whole[range])) }
                }
                for try await isRight in group { #expect(isRight) }
            }
            let peak = await node.packedPeakBytes
            #expect(peak > 8 << 20 && peak <= 32 << 20)
        }
    }

    @Test(arguments: backends) func anotherNodeGetsWhatIsPacked(_ backend: Backend) async throws {
        let server = backend == .s3 ? try await S3Server() : nil
        defer { server?.stop() }
        let scratch = try Scratch()
        defer { scratch.remove() }
        let table = backend == .table ? test_memory_storage() : nil
        defer { free(table) }
        let storage: any ExternalStorage =
            switch backend {
            case .directory: FilesystemStorage(directories: [scratch.path + "/spill"], owner: "n")
            case .table: try UnsafeTableStorage(unsafeTable: #require(table))
            case .s3: try S3Storage(locations: [S3Location("s3://spill")], prefix: "p", owner: "n", service: server!.service)
            }
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(capacity: 32 << 20, storage: storage) { $0.spill.compression = .on }
        let other = try await cluster.addNode()
        let session = try await Session.connect(socket: node.socketPath)
        let reader = try await Session.connect(socket: other.socketPath)
        var refs: [ObjectRef<Bytes>] = []
        for number in 0..<16 { refs.append(try await put(Self.bytes(number), session, node)) }
        _ = await node.freeMemory(32 << 20)
        for number in 0..<16 {
            let there = try await reader.open(refs[number].shared())
            let bytes = Self.bytes(number)
            if bytes.count > 5 << 20 {
                let range = (5 << 20)..<(5 << 20) + 1000
                #expect(equal(try await reader.read(there, range), Array(bytes[range])))
            }
            #expect(equal(try await reader.get(there, timeout: .seconds(60)), bytes), "\(number)")
        }
        // From where it lies, if the storage can be read by whoever sends.
        #expect((await node.spillCounters()?.restoredObjects == 0) == (backend != .table))
        await session.close()
        await reader.close()
        await cluster.stop()
    }

    /// Where a byte is flipped: the record's lengths, the announcement, the object's metadata, a frame's header, packed data, the last byte.
    @Test(arguments: [16, 24 + 56, 24 + 56 + 9, 24 + 56 + 33, 24 + 56 + 40 + 1, -300_000, -1, -4])
    func anAlteredRecordIsAnErrorThatNamesFileAndByte(at place: Int) async throws {
        try await withSpilling(capacity: 64 << 20, configure: { $0.spill.compression = .on }) { node, session, _ in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<3 { refs.append(try session.put(bytes: packable(5 << 20, seed: UInt64(number)))) }
            _ = await node.freeMemory(64 << 20)
            let location = try #require(node.spillLocation(of: refs[1].id))
            #expect(location.size < 4 << 20)
            let at = location.offset + (place < 0 ? location.size - UInt64(-place) : UInt64(place))
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: location.file))
            try file.seek(toOffset: at)
            let byte = try #require(try file.read(upToCount: 1)?.first)
            try file.seek(toOffset: at)
            try file.write(contentsOf: [byte ^ 0x10])
            try file.close()
            let error = await failure { _ = try await session.get(refs[1], timeout: .seconds(30)) }
            #expect(error?.code == .corrupt)
            #expect(error?.message.contains(location.file) == true)
            #expect(error?.message.contains("at byte \(location.offset)") == true, "\(error?.message ?? "")")
            for number in [0, 2] {
                #expect(equal(try await session.get(refs[number]), packable(5 << 20, seed: UInt64(number))))
            }
            #expect(await node.spillCounters()?.damagedRecords == 1)
        }
    }

    @Test func aCutFileSparesWhatLiesBefore() async throws {
        try await withSpilling(capacity: 64 << 20, configure: { $0.spill.compression = .on }) { node, session, _ in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<3 { refs.append(try session.put(bytes: packable(300_000, seed: UInt64(number)))) }
            _ = await node.freeMemory(64 << 20)
            let location = try #require(node.spillLocation(of: refs[1].id))
            #expect(truncate(location.file, Int(location.offset) + 1000) == 0)
            let neighbour = refs[0]
            async let first = session.get(neighbour)
            let error = await failure { _ = try await session.get(refs[1], timeout: .seconds(30)) }
            #expect(error?.code == .corrupt && error?.message.contains(location.file) == true)
            #expect(equal(try await first, packable(300_000, seed: 0)))
        }
    }

    @Test func anotherBlocksDamageDoesNotTouchAPart() async throws {
        try await withSpilling(capacity: 64 << 20, configure: { $0.spill.compression = .on }) { node, session, _ in
            let whole = packable(12 << 20, seed: 8)
            let ref = try session.put(bytes: whole)
            _ = await node.freeMemory(64 << 20)
            let location = try #require(node.spillLocation(of: ref.id))
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: location.file))
            // In the last block's frame.
            try file.seek(toOffset: location.offset + location.size - 50_000)
            try file.write(contentsOf: [1, 2, 3, 4, 5, 6, 7, 8])
            try file.close()
            #expect(equal(try await session.read(ref, 1000..<5000), Array(whole[1000..<5000])))
            let error = await failure { _ = try await session.read(ref, (9 << 20)..<(9 << 20) + 1) }
            #expect(error?.code == .corrupt && error?.message.contains(location.file) == true)
        }
    }

    /// The same bytes twice: before anything is known of the storage, and when it has taken two seconds for a file.
    @Test func aSlowStorageGetsSmallerRecords() async throws {
        let storage = SwitchedStorage()
        try await withSpilling(
            capacity: 64 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) },
            configure: { $0.spill.compression = .on }
        ) { node, session, _ in
            let bytes = words(12 << 20)
            var sizes: [UInt64] = []
            storage.writeTime = .seconds(2)
            for _ in 0..<2 {
                let ref = try session.put(bytes: bytes)
                try await spillAll(of: node) { try !session.contains(ref) }
                sizes.append(try #require(node.spillLocation(of: ref.id)).size)
                #expect(equal(try await session.get(ref), bytes))
            }
            #expect(sizes[0] < UInt64(bytes.count) / 10 * 9)
            #expect(sizes[1] < sizes[0] / 100 * 97, "\(sizes)")
        }
    }

    /// Words, some of them often, of which a codec makes the less the more time it has.
    private func words(_ size: Int) -> [UInt8] {
        var state: UInt64 = 88_172_645_463_325_252
        func random() -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state >> 20)
        }
        let words = (0..<2048).map { _ in (0..<3 + random() % 9).map { _ in UInt8(97 + random() % 26) } + [32] }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size + 12)
        while bytes.count < size {
            let some = random()
            bytes += words[some % 2048 * (some >> 14 & 2047) / 2048 * (some >> 28 & 2047) / 2048]
        }
        return Array(bytes.prefix(size))
    }
}
