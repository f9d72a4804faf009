// SPDX-License-Identifier: Apache-2.0
import CTestSupport
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// What every external storage must do, whichever it is.
@Suite struct StorageConformanceTests {
    /// A backend, and how to make one for a test.
    enum Backend: String, CaseIterable, CustomTestStringConvertible {
        case oneDirectory, severalDirectories, synced, unstable, slow, table, s3, s3WithPath, s3OfRclone, ofCluster, s3OfCluster

        var testDescription: String { rawValue }
        var needsServer: Bool { [.s3, .s3WithPath, .s3OfRclone, .s3OfCluster].contains(self) }
    }

    private func withStorage(
        _ backend: Backend, _ body: (any ExternalStorage) async throws -> Void
    ) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let folders = (0..<3).map { "\(scratch.path)/disk\($0)" }
        switch backend {
        case .oneDirectory: try await body(FilesystemStorage(directories: [folders[0]], owner: "node"))
        case .severalDirectories: try await body(FilesystemStorage(directories: folders, owner: "node"))
        case .synced: try await body(FilesystemStorage(directories: [folders[0]], owner: "node", durability: .synced))
        case .unstable: try await body(UnstableStorage(FilesystemStorage(directories: [folders[0]], owner: "node")) { 9 })
        case .slow: try await body(SlowStorage(FilesystemStorage(directories: [folders[0]], owner: "node")))
        case .ofCluster:
            try await body(
                ofCluster(
                    StorageConfiguration.Node(
                        stateDirectory: "/state", owner: "node", session: "session_1", clusterStorage: folders[0])))
        case .s3OfCluster:
            let server = try await S3Server()
            defer { server.stop() }
            let keys = server.service.credentials
            try await body(
                ofCluster(
                    StorageConfiguration.Node(
                        stateDirectory: "/state", owner: "node", session: "session_1", clusterStorage: "s3://spill/all",
                        environment: [
                            "AWS_ENDPOINT_URL": server.service.endpoint, "AWS_ACCESS_KEY_ID": keys.accessKey,
                            "AWS_SECRET_ACCESS_KEY": keys.secretKey,
                        ])))
        case .table:
            let table = try #require(test_memory_storage())
            defer { free(table) }
            try await body(UnsafeTableStorage(unsafeTable: table))
        case .s3OfRclone:
            let server = try await S3Server(ofRcloneIn: scratch.path)
            defer { server.stop() }
            try await body(
                S3Storage(
                    locations: [S3Location("s3://spill/a/b c/")], prefix: "spilled", owner: "node", service: server.service,
                    partBytes: 5 << 20))
        case .s3, .s3WithPath:
            let server = try await S3Server()
            defer { server.stop() }
            let locations =
                try backend == .s3 ? [S3Location("s3://spill")] : [S3Location("s3://spill/a/b c/"), S3Location("s3://other")]
            try await body(
                S3Storage(locations: locations, prefix: "spilled", owner: "node", service: server.service, partBytes: 5 << 20))
        }
    }

    private func ofCluster(_ node: StorageConfiguration.Node) throws -> any ExternalStorage {
        try StorageConfiguration(json: #"{"type": "ray_storage", "params": {"buffer_size": 5242880}}"#).storage(for: node)
    }

    static let backends = Backend.allCases.filter { !$0.needsServer || S3Server.python != nil }

    @Test(arguments: backends)
    func whatIsSpilledIsRestoredByteForByte(_ backend: Backend) async throws {
        try await withStorage(backend) { storage in
            #expect(storage.canSpill)
            try await storage.validate()
            let objects = SpilledObjects(sizes: [0, 1, 100, 70_000, 3 << 20, 5], for: storage)
            let file = try await storage.spill(objects.layout.batch)
            #expect(objects.areSummed)
            #expect(file.recordCount == 6)
            #expect(try await storage.files() == [file.url])
            for index in 0..<6 {
                let location = objects.layout.location(index, in: file.url)
                #expect(location.file == file.url)
                #expect(try await restored(location, from: storage) == objects.record(index))
                // A part of a record, and in two pieces of memory.
                guard location.size > 50 else { continue }
                let part = SpillLocation(file: file.url, offset: location.offset + 10, size: location.size - 20, checksum: nil)
                #expect(try await restored(part, from: storage) == objects.record(index).part(10..<Int(location.size) - 10))
            }
            try await storage.destroy()
            #expect(try await storage.files().isEmpty)
        }
    }

    /// Packed beforehand and kept, or packed when the storage asks for the bytes: what lies there is the same.
    @Test(arguments: backends, [0, 64 << 20] as [UInt64])
    func whatIsPackedIsRestoredByteForByte(_ backend: Backend, keepBytes: UInt64) async throws {
        try await withStorage(backend) { storage in
            try await storage.validate()
            var packing = SpillPacking(isByRange: storage.takesBytesByRange)
            packing.keepBytes = keepBytes
            // The larger ones shrink to a part of an S3 object, and to several.
            let objects = SpilledObjects(sizes: [0, 1, 70_000, 9 << 20, (40 << 20) + 77], packing: packing, for: storage)
            let isPacked = storage.takesBytesByRange || keepBytes > 0
            #expect((objects.layout.batch.byteCount < 40 << 20) == isPacked)
            if !isPacked { #expect(objects.layout.location(4, in: "").size > 40 << 20) }
            let file = try await storage.spill(objects.layout.batch)
            #expect(objects.areSummed)
            for index in 0..<5 {
                let location = objects.layout.location(index, in: file.url)
                #expect(try await restored(location, from: storage) == objects.stored(location))
            }
            try await storage.destroy()
        }
    }

    /// Larger than a part of an S3 object, so that it is uploaded in parts and read in ranges.
    @Test(arguments: backends)
    func aLargeObjectIsRestored(_ backend: Backend) async throws {
        try await withStorage(backend) { storage in
            try await storage.validate()
            let objects = SpilledObjects(sizes: [1000, (11 << 20) + 12_345], for: storage)
            let file = try await storage.spill(objects.layout.batch)
            #expect(objects.areSummed)
            #expect(try await restored(objects.layout.location(1, in: file.url), from: storage) == objects.record(1))
            #expect(try await restored(objects.layout.location(0, in: file.url), from: storage) == objects.record(0))
            try await storage.destroy()
        }
    }

    @Test(arguments: backends)
    func whatIsDeletedIsGoneAndTheOthersAreNot(_ backend: Backend) async throws {
        try await withStorage(backend) { storage in
            try await storage.validate()
            let objects = (0..<3).map { SpilledObjects(sizes: [5000, 100], seed: UInt64($0)) }
            var files: [SpilledFile] = []
            for object in objects { files.append(try await storage.spill(object.layout.batch)) }
            #expect(Set(try await storage.files()) == Set(files.map(\.url)))
            try await storage.delete(files[1].url)
            #expect(Set(try await storage.files()) == [files[0].url, files[2].url])
            let gone = await failure { _ = try await restored(objects[1].layout.location(0, in: files[1].url), from: storage) }
            #expect(gone?.code == .fileNotFound)
            #expect(gone?.message.contains(objects[1].layout.batch.name) == true)
            // Deleting twice is deleting once.
            try await storage.delete(files[1].url)
            for index in [0, 2] {
                #expect(
                    try await restored(objects[index].layout.location(0, in: files[index].url), from: storage)
                        == objects[index].record(0))
            }
            try await storage.destroy()
        }
    }

    @Test(arguments: backends)
    func readingBeyondTheEndIsCorruptAtOnce(_ backend: Backend) async throws {
        try await withStorage(backend) { storage in
            try await storage.validate()
            let objects = SpilledObjects(sizes: [1000])
            let file = try await storage.spill(objects.layout.batch)
            let size = objects.layout.batch.byteCount
            for (offset, count) in [(UInt64(0), size + 1), (size - 1, UInt64(2)), (size + 10, UInt64(1))] {
                let location = SpillLocation(file: file.url, offset: offset, size: count, checksum: nil)
                let error = await failure { _ = try await restored(location, from: storage) }
                #expect(error?.code == .corrupt)
                #expect(error?.message.contains(objects.layout.batch.name) == true)
            }
            try await storage.destroy()
        }
    }

    @Test(arguments: backends)
    func manyAtOnceDoNotDisturbEachOther(_ backend: Backend) async throws {
        try await withStorage(backend) { storage in
            try await storage.validate()
            let all = (0..<12).map { SpilledObjects(sizes: [100, 300_000, 7], seed: UInt64($0)) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for objects in all {
                    group.addTask {
                        let file = try await storage.spill(objects.layout.batch)
                        for index in 0..<3 {
                            #expect(
                                try await restored(objects.layout.location(index, in: file.url), from: storage)
                                    == objects.record(index))
                        }
                        try await storage.delete(file.url)
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await storage.files().isEmpty)
            try await storage.destroy()
        }
    }

    @Test func aFirstPartIsAFileOfItsOwnName() async throws {
        try await withStorage(.oneDirectory) { storage in
            let partly = UnstableStorage(storage) { 1 }
            try await partly.validate()
            let objects = SpilledObjects(sizes: Array(repeating: 2000, count: 10))
            let file = try await partly.spill(objects.layout.batch)
            #expect((1..<10).contains(file.recordCount))
            #expect(file.url.hasSuffix("-multi-\(file.recordCount)"))
            for index in 0..<file.recordCount {
                #expect(try await restored(objects.layout.location(index, in: file.url), from: partly) == objects.record(index))
            }
            let failing = UnstableStorage(storage) { 0 }
            #expect(await failure { _ = try await failing.spill(objects.layout.batch) }?.code == .system)
            #expect(try await storage.files() == [file.url])
            try await partly.destroy()
        }
    }

    @Test(.enabled(if: S3Server.python != nil, "the S3 server's environment is made by Tests/S3/environment"))
    func wrongCredentialsAndBucketsAreRefusedAtTheStart() async throws {
        let server = try await S3Server()
        defer { server.stop() }
        var service = server.service
        service.credentials.secretKey += "x"
        let unsigned = try S3Storage(locations: [S3Location("s3://spill")], prefix: "p", owner: "o", service: service)
        let refused = await failure { try await unsigned.validate() }
        #expect(refused?.code == .invalidArgument)
        #expect(refused?.message.contains("uri") == true && refused?.message.contains("SignatureDoesNotMatch") == true)
        let elsewhere = try S3Storage(
            locations: [S3Location("s3://no-such-bucket")], prefix: "p", owner: "o", service: server.service)
        let missing = await failure { try await elsewhere.validate() }
        #expect(missing?.code == .invalidArgument)
        #expect(missing?.message.contains("no-such-bucket") == true && missing?.message.contains("NoSuchBucket") == true)
    }
}

/// What has come of a read stays when the rest is cut off: with a server that ends every answer after 1.25 MiB, each attempt brings
/// the next of it, and there are more of them than attempts at one request.
@Suite struct CutAnswerTests {
    @Test func aReadGoesOnWhereItWasCut() async throws {
        let size = 10 << 20
        let server = try TestProcess(
            "/usr/bin/env", ["python3", FileManager.default.currentDirectoryPath + "/Tests/S3/cutting.py", String(size)])
        defer { server.end() }
        let words = try #require(await server.nextLine()?.split(separator: " ").map(String.init))
        try #require(words.count == 2 && words[0] == "READY")
        let service = S3Service(
            endpoint: "http://127.0.0.1:\(words[1])", region: "us-east-1",
            credentials: S3Service.Credentials(accessKey: "a", secretKey: "b"))
        let storage = try S3Storage(locations: [S3Location("s3://spill")], prefix: "p", owner: "o", service: service)
        let location = SpillLocation(file: "s3://spill/p/o/x", offset: 5, size: UInt64(size - 5), checksum: nil)
        let bytes = try await restored(location, from: storage)
        let expected = (0..<UInt64(size / 8)).map(\.littleEndian).withUnsafeBytes { Array($0.dropFirst(5)) }
        #expect(bytes == RecordBytes(bytes: expected))
    }
}

/// Objects of these sizes with bytes that can be made again.
///
/// @unchecked: nothing changes after `init`.
final class SpilledObjects: @unchecked Sendable {
    let layout: SpillLayout
    private let checksums: [UInt64?]
    private let owner: [UInt8] = Array("node 7 of nowhere".utf8)
    private let metadata: [[UInt8]]
    private let data: [[UInt8]]
    private let memory: [UnsafeRawBufferPointer]

    /// - Parameters:
    ///   - packing: nil: as they are, and of bytes that do not shrink.
    ///   - storage: who is to write them, and may make the checksums then.
    init(sizes: [Int], seed: UInt64 = 1, packing: SpillPacking? = nil, for storage: (any ExternalStorage)? = nil) {
        data = sizes.enumerated().map {
            let seed = seed &* 1000 + UInt64($0) + 1
            return packing == nil ? pattern($1, seed: seed) : packable($1, seed: seed)
        }
        metadata = sizes.indices.map { pattern($0 * 13, seed: seed) }
        func lasting(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
            copy.copyBytes(from: bytes)
            return UnsafeRawBufferPointer(copy)
        }
        let owners = sizes.map { [owner] _ in lasting(owner) }
        let metadatas = metadata.map(lasting)
        let datas = data.map(lasting)
        memory = owners + metadatas + datas
        let objects = sizes.indices.map {
            SpillLayout.Object(
                id: objectID(seed: seed, number: $0), owner: owners[$0], metadata: metadatas[$0], data: datas[$0])
        }
        layout = try! SpillLayout(objects, packing: packing, for: storage)
        let summed = try! SpillLayout(objects)
        checksums = sizes.indices.map { summed.location($0, in: "").checksum }
    }

    /// Whether the checksums are those of the data once the file is written, whoever made them.
    var areSummed: Bool { checksums.indices.allSatisfy { layout.location($0, in: "").checksum == checksums[$0] } }

    /// What must lie there.
    func stored(_ location: SpillLocation) -> RecordBytes {
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(location.size)) { bytes, count in
            count = (try? layout.batch.copyBytes(from: location.offset, intoUnsafe: .init(bytes))) == nil ? 0 : bytes.count
        }
        return RecordBytes(bytes: bytes)
    }

    deinit {
        for piece in memory { piece.deallocate() }
    }

    /// What its record must be.
    func record(_ index: Int) -> RecordBytes {
        var bytes: [UInt8] = []
        for size in [owner.count, metadata[index].count, data[index].count] {
            withUnsafeBytes(of: UInt64(size).littleEndian) { bytes += $0 }
        }
        return RecordBytes(bytes: bytes + owner + metadata[index] + data[index])
    }
}

func objectID(seed: UInt64, number: Int) -> ObjectID {
    var bytes = [UInt8](repeating: 0xa0, count: 28)
    withUnsafeBytes(of: seed) { bytes.replaceSubrange(0..<8, with: $0) }
    bytes[27] = UInt8(number)
    return ObjectID(bytes: bytes)!
}

/// Bytes that the C library compares: comparing arrays without optimization holds a thread of the cooperative pool for seconds.
struct RecordBytes: Equatable {
    let bytes: [UInt8]

    func part(_ range: Range<Int>) -> Self { Self(bytes: Array(bytes[range])) }

    static func == (a: Self, b: Self) -> Bool {
        a.bytes.count == b.bytes.count && memcmp(a.bytes, b.bytes, a.bytes.count) == 0
    }
}

/// What lies there, read into two pieces of memory.
func restored(_ location: SpillLocation, from storage: any ExternalStorage) async throws -> RecordBytes {
    let size = Int(location.size)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { memory.deallocate() }
    let cut = size / 3
    let pieces = [
        UnsafeMutableRawBufferPointer(rebasing: memory[..<cut]), UnsafeMutableRawBufferPointer(rebasing: memory[cut...]),
    ]
    try await storage.restore(location.file, from: location.offset, into: SpillMemory(unsafePieces: pieces))
    return RecordBytes(bytes: Array(memory))
}
