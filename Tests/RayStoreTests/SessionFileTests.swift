// SPDX-License-Identifier: Apache-2.0
import CRayStore
import FoundationEssentials
import Testing

@testable import RayStore

@Suite struct SessionFileTests {
    @Test func aFileThatIsToBePutIsItsPathOnly() {
        let file = RayFile(path: "/data/epoch 7.jsonl")
        #expect(file.path == "/data/epoch 7.jsonl")
        #expect(file.name == "epoch 7.jsonl")
        #expect(file.size == nil && file.modified == nil)
        #expect(file.isCopy)
        #expect(!RayFile(path: "/x", enableCopy: false).isCopy)
        #expect(RayFile(path: "relative").path == currentDirectory()! + "/relative")
        #expect(RayFile.adopting(path: "/x").isCopy)
    }

    @Test func whatAFileIsComesBackWithTheGet() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let folder = temporaryFolder()
        let path = "\(folder)/raystore-test-\(UInt64.random(in: 0...UInt64.max)) ☂.bin"
        try Data([1, 2, 3]).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let ref = try await session.put(RayFile(path: path, enableCopy: false))
        do {
            let file = try await session.get(ref)
            #expect(file.path == path)
            #expect("\(folder)/\(file.name)" == path)
            #expect(file.size == .bytes(3))
            #expect(file.modified! > .seconds(1_600_000_000))
            #expect(!file.isCopy)
            #expect(node.pinnedBytes > 0)
        }
        #expect(node.pinnedBytes == 0)
        var payload = PayloadReader(node.requests(.putFile)[0].payload)
        #expect(payload.integer(UInt32.self) == UInt32(RAY_FILE_REFERENCE))
        await session.close()
    }

    @Test func aGotFileHoldsTheObjectWithoutAnyOtherRef() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        var file: RayFile? = try await { try await session.get(session.put(RayFile(path: "/etc/passwd"))) }()
        #expect(file?.path == "/etc/passwd")
        #expect(node.entryCount == 1)
        file = nil
        await eventually("the object goes with the file") { node.entryCount == 0 }
        await session.close()
    }

    @Test func aMissingFileIsTheNodesError() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        #expect(await code { _ = try await session.put(RayFile(path: "/nowhere/at all")) } == "FILE_NOT_FOUND")
        #expect(await code { _ = try await session.put(RayFile(path: "/tmp")) } == "NOT_A_FILE")
        await session.close()
    }
}
