// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// A node with a short disk that may move its own files to its storage: they go when there is no room, come back when they are wanted, and
/// leave nothing in the storage when they end.
@Suite(.serialized, .enabled(if: SmallDisk.isPossible, "this user may not mount a small disk"))
struct MovedFileTests {
    private static let size = 18 << 20

    private struct Scene {
        let owner: Session
        let node: Node
        let other: Session
        let disk: SmallDisk
        let scratch: Scratch

        static func with(_ storage: any ExternalStorage, _ scratch: Scratch, _ body: (Scene) async throws -> Void) async throws {
            let disk = try SmallDisk(bytes: 64 << 20)
            defer { disk.remove() }
            try await withNodes(1) { cluster, _, sessions in
                let node = try await cluster.addNode(storage: storage) { options in
                    options.stateDirectory = disk.path + "/node"
                    options.movesFiles = true
                }
                let session = try await Session.connect(socket: node.socketPath)
                do {
                    try await body(Scene(owner: session, node: node, other: sessions[0], disk: disk, scratch: scratch))
                } catch {
                    await session.close()
                    await node.stop()
                    throw error
                }
                await session.close()
                await node.stop()
            }
        }

        func put(_ seed: UInt64, size: Int = MovedFileTests.size) async throws -> ObjectRef<RayFile> {
            let path = try scratch.file("f\(seed)", size: size, seed: seed)
            defer { try? FileManager.default.removeItem(atPath: path) }
            return try await owner.put(RayFile(path: path))
        }

        func isHere(_ ref: ObjectRef<RayFile>) -> Bool {
            disk.files().contains { $0.contains("/jobs/") && $0.contains("\(ref.id)") }
        }

        func disk() async throws -> DiskReport {
            let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await owner.report("status").utf8))
            return try #require(report.nodes.first { $0.node.id == node.description.id }?.disk)
        }
    }

    private func moveAndBringBack(_ storage: any ExternalStorage, _ scratch: Scratch) async throws {
        try await Scene.with(storage, scratch) { scene in
            // The last part is a short one.
            let large = try await scene.put(1, size: 35 << 20)
            let b = try await scene.put(2)
            let c = try await scene.put(3)
            #expect([large, b, c].map(scene.isHere) == [false, true, true])
            #expect(try await storage.files().count == 2)
            let report = try await scene.disk()
            #expect(report.movedFileCount == 1 && report.movedFileBytes == 35 << 20 && report.moves == 1)
            #expect(try !scene.owner.contains(large))
            // Another node reads a part of it, then gets it, and a part is read here: from where it lies.
            let there = try await scene.other.open(large.shared())
            let whole = pattern(35 << 20, seed: 1)
            for range in [(31 << 20) + 5..<(33 << 20) + 5, 0..<1, (35 << 20) - 9..<(35 << 20) + 9, 5..<5] {
                let expected = Array(whole[range.clamped(to: 0..<whole.count)])
                for session in [scene.other, scene.owner] {
                    let part = try await session.read(session === scene.other ? there : large, range)
                    #expect(expected.isEmpty ? part.count == 0 : equal(part, expected), "\(range)")
                }
            }
            #expect(try read(await scene.other.get(there, timeout: .seconds(60)).path) == whole)
            #expect([large, b, c].map(scene.isHere) == [false, true, true])
            #expect(try await scene.disk().returns == 0)
            // Whoever gets it here has it brought back, and one that was not wanted for longer goes.
            #expect(try read(await scene.owner.get(large, timeout: .seconds(60)).path) == whole)
            #expect([large, b, c].map(scene.isHere) == [true, false, true])
            #expect(try read(await scene.owner.get(b, timeout: .seconds(60)).path) == pattern(Self.size, seed: 2))
            #expect(try await scene.disk().returns == 2)
            #expect(await eventually { (try? await scene.disk().movedFileCount) == 1 })
            for (index, ref) in [large, b, c].enumerated() {
                let got = try await scene.owner.get(ref, timeout: .seconds(60))
                #expect(try read(got.path) == pattern(index == 0 ? 35 << 20 : Self.size, seed: UInt64(index + 1)))
            }
            for ref in [large, b, c] { try await scene.owner.free(ref) }
            #expect(try await eventually { try await storage.files().isEmpty })
            #expect(try await scene.disk().movedFileCount == 0)
            #expect(await eventually { scene.disk.files().isEmpty })
        }
    }

    @Test func ownFilesGoToADirectoryAndComeBack() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let storage = FilesystemStorage(directories: [scratch.path + "/storage"], owner: "n")
        try await moveAndBringBack(storage, scratch)
    }

    @Test(.enabled(if: S3Server.python != nil, "make test makes the environment of the S3 server"))
    func ownFilesGoToS3AndComeBack() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let server = try await S3Server()
        defer { server.stop() }
        let storage = try S3Storage(
            locations: [S3Location("s3://spill/files")], prefix: "moved", owner: "n", service: server.service, partBytes: 5 << 20)
        try await moveAndBringBack(storage, scratch)
    }

    /// On its way from there a byte may become another one: each part is wrong when it is read for the first time.
    @Test func aWrongByteOfAMovedFileIsReadOnceMore() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withMoodyServer { server, service in
            let storage = try S3Storage(locations: [S3Location("s3://flip")], prefix: "p", owner: "n", service: service)
            try await Scene.with(storage, scratch) { scene in
                let large = try await scene.put(1, size: 35 << 20)
                let others = [try await scene.put(2), try await scene.put(3)]
                #expect(others.map(scene.isHere) == [true, true] && !scene.isHere(large))
                let whole = pattern(35 << 20, seed: 1)
                // Block by block to another node, then part by part to the disk.
                let there = try await scene.other.open(large.shared())
                #expect(try read(await scene.other.get(there, timeout: .seconds(60)).path) == whole)
                #expect(try read(await scene.owner.get(large, timeout: .seconds(60)).path) == whole)
                #expect(await server.nextLine() == "FLIPPED")
            }
        }
    }

    /// What somebody altered or took away in the storage is an error that names it, here and at another node, and at once.
    @Test(arguments: [false, true]) func damageInTheStorageIsSaid(isGone: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let storage = FilesystemStorage(directories: [scratch.path + "/storage"], owner: "n")
        try await Scene.with(storage, scratch) { scene in
            let refs = [try await scene.put(1), try await scene.put(2), try await scene.put(3), try await scene.put(4)]
            #expect(refs.map(scene.isHere) == [false, true, true, true])
            let url = try #require(try await storage.files().first)
            try damage(url, isGone: isGone)
            let wanted: RayStoreError.Code = isGone ? .objectLost : .corrupt
            let here = await failure { _ = try await scene.owner.get(refs[0]) }
            #expect(here?.code == wanted && here?.message.contains("storage") == true, "\(here?.message ?? "")")
            let opened = try await scene.other.open(refs[0].shared())
            let there = await failure { _ = try await scene.other.get(opened) }
            #expect(there?.code == wanted, "\(there?.message ?? "")")
            #expect(scene.disk.files().allSatisfy { !$0.contains("/partial/") })
            // The others are as they were.
            for index in 1..<4 {
                let got = try await scene.owner.get(refs[index], timeout: .seconds(60))
                #expect(try read(got.path) == pattern(Self.size, seed: UInt64(index + 1)))
            }
        }
    }

    /// The same with a copy at another node: it is had from there, here and elsewhere, as a whole and in part.
    @Test(arguments: [false, true], [false, true])
    func anotherNodesCopyMakesUpForDamageInTheStorage(isGone: Bool, asPart: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let storage = FilesystemStorage(directories: [scratch.path + "/storage"], owner: "n")
        try await Scene.with(storage, scratch) { scene in
            let damaged = try await scene.put(1)
            let there = try await scene.other.open(damaged.shared())
            #expect(try read(await scene.other.get(there, timeout: .seconds(60)).path) == pattern(Self.size, seed: 1))
            var refs: [ObjectRef<RayFile>] = []
            for seed in UInt64(2)...4 { refs.append(try await scene.put(seed)) }
            #expect(!scene.isHere(damaged))
            let before = try await storage.files()
            try damage(try #require(before.first), isGone: isGone)
            if asPart {
                let range = 5 << 20..<(5 << 20) + 1000
                let part = try await scene.owner.read(damaged, range)
                #expect(equal(part, Array(pattern(Self.size, seed: 1)[range])))
            }
            #expect(try read(await scene.owner.get(damaged, timeout: .seconds(60)).path) == pattern(Self.size, seed: 1))
            // It is this node's own file again: the damaged parts go, and when the disk is short it is moved as before.
            #expect(scene.isHere(damaged))
            #expect(try await eventually { try await !storage.files().contains(before[0]) })
            for (number, ref) in refs.enumerated() {
                let file = try await scene.owner.get(ref, timeout: .seconds(60))
                #expect(try read(file.path) == pattern(Self.size, seed: UInt64(number + 2)))
            }
            #expect(!scene.isHere(damaged))
            #expect(try read(await scene.owner.get(damaged, timeout: .seconds(60)).path) == pattern(Self.size, seed: 1))
        }
    }

    /// Nobody waits for a storage that refuses the node's credentials: it is said at once, and when they are mended all is as before.
    @Test(.timeLimit(.minutes(2))) func aStorageThatRefusesIsSaid() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let switched = SwitchedStorage()
        let storage = switched.over(FilesystemStorage(directories: [scratch.path + "/storage"], owner: "n"))
        try await Scene.with(storage, scratch) { scene in
            let refs = [try await scene.put(1), try await scene.put(2), try await scene.put(3), try await scene.put(4)]
            #expect(refs.map(scene.isHere) == [false, true, true, true])
            let moved = refs[0]
            let there = try await scene.other.open(moved.shared())
            switched.isRefusing = true
            let part = await failure { _ = try await scene.owner.read(moved, 5..<9) }
            let here = await failure { _ = try await scene.owner.get(moved) }
            let farPart = await failure { _ = try await scene.other.read(there, 5..<9) }
            let far = await failure { _ = try await scene.other.get(there) }
            for (what, error) in [("part", part), ("whole", here), ("part elsewhere", farPart), ("whole elsewhere", far)] {
                #expect(error?.code == .keyRefused, "\(what): \(error?.message ?? "no error")")
                #expect(error?.message.contains("credentials") == true, "\(what)")
            }
            switched.isRefusing = false
            #expect(try read(await scene.other.get(there, timeout: .seconds(60)).path) == pattern(Self.size, seed: 1))
            #expect(try read(await scene.owner.get(moved, timeout: .seconds(60)).path) == pattern(Self.size, seed: 1))
        }
    }

    private func damage(_ url: String, isGone: Bool) throws {
        let path = url.hasPrefix("file://") ? String(url.dropFirst(7)) : url
        guard !isGone else { return try FileManager.default.removeItem(atPath: path) }
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.seek(toOffset: 5 << 20)
        try file.write(contentsOf: Data([1, 2, 3, 4]))
        try file.close()
    }

    @Test func aDetachedFileStaysOnTheDisk() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let storage = FilesystemStorage(directories: [scratch.path + "/storage"], owner: "n")
        try await Scene.with(storage, scratch) { scene in
            let kept = try await scene.put(1)
            try await scene.owner.detach(kept)
            let b = try await scene.put(2)
            let c = try await scene.put(3)
            let d = try await scene.put(4)
            #expect([kept, b, c, d].map(scene.isHere) == [true, false, true, true])
            // One that is moved comes back first.
            try await scene.owner.detach(b)
            #expect([kept, b, c, d].map(scene.isHere) == [true, true, false, true])
            try await scene.owner.remove(b)
            try await scene.owner.remove(kept)
        }
    }

    /// Ids come again in another cluster. What an earlier life left may be deleted while this one writes.
    @Test func aMovedFileHasANameOfItsLife() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let storage = FilesystemStorage(directories: [scratch.path + "/storage"], owner: "n")
        var lives: [[String]] = []
        for _ in 0..<2 {
            try await Scene.with(storage, scratch) { scene in
                let refs = [try await scene.put(1), try await scene.put(2), try await scene.put(3), try await scene.put(4)]
                #expect(refs.map(scene.isHere) == [false, true, true, true])
                lives.append(try await storage.files())
            }
        }
        #expect(lives[0].count == 1 && lives[1].count == 1)
        let ids = lives.flatMap { $0 }.map { $0.components(separatedBy: "-file-")[0] }
        #expect(ids[0] == ids[1])
        #expect(lives[0] != lives[1])
    }

    @Test func filesAreMovedOnlyWhereThereIsAStorage() async throws {
        let error = await failure { try await withNodes(1, configure: { $0.movesFiles = true }) { _, _, _ in } }
        #expect(error?.code == .invalidArgument)
    }
}
