// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// A node inside the test's process, as `Session.start()` makes it.
@Suite struct EmbeddedSessionTests {
    @Test func bytesArraysAndValuesComeBackAsTheyWerePut() async throws {
        let session = try await Session.start(capacity: 64 << 20)
        let bytes = try session.put(bytes: pattern(1000))
        let array = try session.put([1.5, 2.5, -3.5] as [Double])
        let value = try session.put(["a": [1, 2], "b": []])
        #expect(try await Array(session.get(bytes)) == pattern(1000))
        #expect(try await session.get(value) == ["a": [1, 2], "b": []])
        #expect(try await elements(of: array, in: session) == [1.5, 2.5, -3.5])
        await session.close()
    }

    private func elements(of ref: ObjectRef<[Double]>, in session: Session) async throws -> [Double] {
        let pinned = try await session.pin(ref)
        let elements = try pinned.elements(as: Double.self)
        var copy: [Double] = []
        for index in elements.indices { copy.append(elements[index]) }
        return copy
    }

    @Test func theFirstPutOfTheFirstDriverHasRaysId() async throws {
        let session = try await Session.start(capacity: 16 << 20)
        let ref = try session.put(bytes: [1])
        #expect(ref.id.description == "00ffffffffffffffffffffffffffffffffffffff0100000001e1f505")
        await session.close()
    }

    @Test func closingRemovesTheTemporaryStateDirectory() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let session = try await Session.start(capacity: 16 << 20)
        let path = try await session.get(session.put(RayFile(path: scratch.file("f", size: 1)))).path
        let state = String(path[..<path.range(of: "/jobs/")!.lowerBound])
        #expect(FileManager.default.fileExists(atPath: state + "/node.sock"))
        await session.close()
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    @Test func aSessionOfNoJobLooksAndPutsNothing() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let looker = try await Session.connect(socket: nodes[0].socketPath, job: JobID.none)
            let ref = try await looker.open(sessions[0].put(bytes: [5]).shared())
            #expect(try await Array(looker.get(ref)) == [5])
            #expect(await failure { _ = try looker.put(bytes: [6]) }?.code == .invalidArgument)
            #expect(looker.isDriver == false)
            await looker.close()
        }
    }

    @Test func aSecondNodeOnTheSameStateDirectoryIsRefusedByName() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let first = try await Session.start(capacity: 16 << 20, stateDirectory: scratch.path + "/state")
        let error = await failure { _ = try await Session.start(capacity: 16 << 20, stateDirectory: scratch.path + "/state") }
        #expect(error?.code == .inUse)
        #expect(error?.message.contains(scratch.path) == true)
        await first.close()
        let again = try await Session.start(capacity: 16 << 20, stateDirectory: scratch.path + "/state")
        await again.close()
    }

    @Test func aStoreThatIsFullSaysNeededAndFree() async throws {
        let session = try await Session.start(capacity: 16 << 20)
        let error = await failure { _ = try session.put(bytes: [UInt8](repeating: 1, count: 17 << 20)) }
        #expect(error?.code == .storeFull)
        // What failed has left nothing behind: the same room can be used.
        let ref = try session.put(bytes: [UInt8](repeating: 2, count: 12 << 20))
        #expect(try session.contains(ref))
        await session.close()
    }

    @Test func droppingTheLastRefGivesTheMemoryBack() async throws {
        let session = try await Session.start(capacity: 16 << 20)
        for _ in 0..<20 {
            _ = try session.put(bytes: [UInt8](repeating: 1, count: 4 << 20))
        }
        #expect(try await session.census().objects == 0)
        await session.close()
    }
}

@Suite struct FileTests {
    @Test(arguments: [0, 1, 4 << 20, (4 << 20) + 1]) func aCopiedFileIsReadOnlyAndLeavesTheSourceAlone(size: Int) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let source = try scratch.file("data set.bin", size: size)
        let session = try await Session.start(capacity: 16 << 20)
        let ref = try await session.put(RayFile(path: source))
        let file = try await session.get(ref)
        #expect(file.path != source)
        #expect(file.name == "data set.bin")
        #expect(file.size?.bytes == size)
        #expect(try read(file.path) == pattern(size))
        let mode = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions] as? Int
        #expect(mode.map { $0 & 0o222 } == 0)
        #expect(FileManager.default.fileExists(atPath: source))
        await session.close()
    }

    @Test func theFileGoesWithItsLastReference() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let session = try await Session.start(capacity: 16 << 20)
        var ref: ObjectRef<RayFile>? = try await session.put(RayFile(path: scratch.file("a", size: 100)))
        var file: RayFile? = try await session.get(ref!)
        let path = file!.path
        ref = nil
        // The RayFile itself keeps it.
        try await Task.sleep(for: .milliseconds(300))
        #expect(FileManager.default.fileExists(atPath: path))
        _ = file?.name
        file = nil
        #expect(await eventually { !FileManager.default.fileExists(atPath: path) })
        #expect(try await eventually { try await session.census() == (0, 0) })
        await session.close()
    }

    /// The job's folder goes with its last file; the next file may be on its way there.
    @Test func filesThatComeWhileOthersGoFindTheirFolder() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let source = try scratch.file("a", size: 10)
        let session = try await Session.start(capacity: 16 << 20)
        for _ in 0..<300 {
            let ref = try await session.put(RayFile(path: source))
            #expect(try session.contains(ref))
        }
        await session.close()
    }

    @Test func aFreedFileStaysForWhoHasItOpen() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let session = try await Session.start(capacity: 16 << 20)
        let ref = try await session.put(RayFile(path: scratch.file("a", size: 100)))
        var file: RayFile? = try await session.get(ref)
        let path = file!.path
        try await session.free(ref)
        #expect(await failure { _ = try await session.get(ref) }?.code == .objectFreed)
        #expect(try read(path) == pattern(100))
        _ = file?.name
        file = nil
        #expect(await eventually { !FileManager.default.fileExists(atPath: path) })
        await session.close()
    }

    @Test func aReferencedFileIsNeverDeletedAndItsChangeIsNoticed() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let source = try scratch.file("a", size: 100)
        let session = try await Session.start(capacity: 16 << 20)
        var ref: ObjectRef<RayFile>? = try await session.put(RayFile(path: source, enableCopy: false))
        #expect(try await session.get(ref!).path == source)
        try Data(pattern(101)).write(to: URL(fileURLWithPath: source))
        let error = await failure { _ = try await session.get(ref!) }
        #expect(error?.code == .sourceChanged)
        #expect(error?.message.contains(source) == true)
        ref = nil
        #expect(try await eventually { try await session.census().objects == 0 })
        #expect(FileManager.default.fileExists(atPath: source))
        await session.close()
    }

    @Test func anAdoptedFileIsMoved() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let source = try scratch.file("a", size: 100)
        let session = try await Session.start(capacity: 16 << 20)
        let ref = try await session.put(RayFile.adopting(path: source))
        #expect(!FileManager.default.fileExists(atPath: source))
        #expect(try await read(session.get(ref).path) == pattern(100))
        await session.close()
    }

    @Test(arguments: ["with space", "日本語.jsonl", "-dash", "quote'\"", "tab\tname"])
    func unusualNamesAreKept(name: String) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let session = try await Session.start(capacity: 16 << 20)
        let ref = try await session.put(RayFile(path: scratch.file(name, size: 10)))
        let file = try await session.get(ref)
        #expect(file.name == name)
        #expect(try read(file.path) == pattern(10))
        await session.close()
    }

    @Test func badFilesAreRefusedByName() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let session = try await Session.start(capacity: 16 << 20)
        let missing = await failure { _ = try await session.put(RayFile(path: scratch.path + "/missing")) }
        #expect(missing?.code == .fileNotFound)
        #expect(missing?.message.contains("/missing") == true)
        let directory = await failure { _ = try await session.put(RayFile(path: scratch.path)) }
        #expect(directory?.code == .notAFile)
        #expect(try await session.census() == (0, 0))
        await session.close()
    }

    @Test func aDiskThatMustKeepItsReserveRefusesTheCopy() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withNodes(1, configure: { $0.diskReserve = 1 << 60 }) { cluster, _, sessions in
            let error = await failure { _ = try await sessions[0].put(RayFile(path: scratch.file("a", size: 1000))) }
            #expect(error?.code == .outOfDisk)
            #expect(cluster.files().isEmpty)
        }
    }

    @Test func filesOfAKilledNodeAreSweptAndGivenFilesKept() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        // What a node that was killed leaves: files on disk and rows in the catalogue.
        let state = scratch.path + "/state"
        let first = try await Session.start(capacity: 16 << 20, stateDirectory: state)
        let copy = try await first.put(RayFile(path: scratch.file("copy", size: 10)))
        let adopted = try await first.put(RayFile.adopting(path: scratch.file("adopted", size: 20)))
        try await first.detach(copy)
        _ = adopted
        let image = scratch.path + "/image"
        try FileManager.default.createDirectory(
            atPath: image, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        for item in ["jobs", "files.sqlite", "files.sqlite-wal"] {
            try FileManager.default.copyItem(atPath: state + "/" + item, toPath: image + "/" + item)
        }
        try rewritePaths(in: image + "/files.sqlite", from: state, to: image)
        await first.close()

        let second = try await Session.start(capacity: 16 << 20, stateDirectory: image)
        let left = FileManager.default.enumerator(atPath: image)!.compactMap { $0 as? String }
        #expect(!left.contains { $0.hasPrefix("jobs/") })
        #expect(left.contains { $0.hasPrefix("recovered/") && $0.hasSuffix("/adopted") })
        #expect(left.contains { $0.hasPrefix("recovered/") && $0.hasSuffix("/copy") })
        await second.close()
    }

    private func rewritePaths(in database: String, from: String, to: String) throws {
        let arguments = [
            "python3", "-c",
            "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute('update file set path=replace(path,?,?)',(sys.argv[2],sys.argv[3])); c.commit()",
            database, from, to,
        ]
        let process = try SpawnedProcess("/usr/bin/env", arguments)
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }
}
