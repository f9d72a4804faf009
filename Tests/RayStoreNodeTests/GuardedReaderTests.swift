// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Sessions that read only, through the node. That another user can be such a reader, and can write nothing, is shown in C
/// (client_reader_test), where a process can become that user.
@Suite struct GuardedReaderTests {
    private func connect(_ node: Node) async throws -> Session {
        try await Session.connect(socket: node.socketPath, access: .guardedReader)
    }

    @Test func aReaderReadsWhatAnotherSessionPut() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let reader = try await connect(nodes[0])
            #expect(reader.job == JobID.none)
            let written = try sessions[0].put(bytes: pattern(5000))
            let ref = try await reader.open(written.shared())
            #expect(try reader.contains(ref))
            let bytes = try await reader.get(ref, timeout: .seconds(10))
            #expect(Array(bytes) == pattern(5000))
            let pinned = try await reader.pin(ref)
            #expect(pinned.bytes.byteCount == 5000)
            #expect(try await reader.wait([ref], timeout: .zero).ready.count == 1)
            await reader.close()
            #expect(Array(bytes) == pattern(5000))
        }
    }

    @Test func whatWritesThrowsUnsupported() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let reader = try await connect(nodes[0])
            let ref = try await reader.open(sessions[0].put(bytes: [5]).shared())
            await #expect(throws: RayStoreError.self) { try await reader.free(ref) }
            for attempt in [
                { _ = try reader.put(bytes: [1]) }, { _ = try reader.put([1, 2, 3]) }, { _ = try reader.put("text") },
            ] as [() throws -> Void] {
                let error = #expect(throws: RayStoreError.self) { try attempt() }
                #expect(error?.code == .unsupported)
                #expect(error?.message.contains("a guarded reader cannot write") == true)
            }
            let error = await #expect(throws: RayStoreError.self) { try await reader.bind("name", to: ref) }
            #expect(error?.code == .unsupported)
            #expect(try await Array(reader.get(ref)) == [5])
            await reader.close()
        }
    }

    @Test func anObjectOfAnotherNodeIsFetchedForAReader() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let reader = try await connect(nodes[1])
            let text = try await sessions[0].put(bytes: pattern(9 << 20)).shared()
            let ref = try await reader.open(text)
            #expect(try await reader.wait([ref], timeout: .seconds(30)).ready.count == 1)
            #expect(try await Array(reader.get(ref, timeout: .seconds(30))) == pattern(9 << 20))
            await reader.close()
        }
    }

    @Test func manyAreGotInOneCallAndAMissingOneIsNamed() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let reader = try await connect(nodes[0])
            var refs: [ObjectRef<Bytes>] = []
            var written: [ObjectRef<Bytes>] = []
            for number in 0..<1500 {
                written.append(try sessions[0].put(bytes: [UInt8(number % 251)]))
                refs.append(try await reader.open(written[number].shared()))
            }
            let all = try await reader.get(refs, timeout: .seconds(20))
            #expect(all.enumerated().allSatisfy { Array($1) == [UInt8($0 % 251)] })
            try await sessions[0].free(written[7])
            let error = await #expect(throws: RayStoreError.self) { try await reader.get(refs, timeout: .seconds(5)) }
            #expect(error?.code == .objectFreed)
            #expect(error?.object == refs[7].id)
            await reader.close()
        }
    }

    @Test func aReadersEndGivesBackWhatItHeld() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let reader = try await connect(nodes[0])
            let id: ObjectID
            do {
                let written = try sessions[0].put(bytes: pattern(100))
                let ref = try await reader.open(written.shared())
                id = ref.id
                _ = try await reader.get(ref)
                try await sessions[0].free(written)
            }
            await reader.close()
            let last = try await sessions[0].open(sessions[0].put(bytes: [1]).shared())
            #expect(last.id != id)
            let deadline = ContinuousClock.now + .seconds(10)
            while try await !sessions[0].list().allSatisfy({ $0.object != id }), ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(try await sessions[0].list().allSatisfy { $0.object != id })
        }
    }

    @Test func theReadersSocketIsForReadersAlone() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = scratch.path + "/readers/node.sock"
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode { $0.readers = ReaderOptions(users: [65534], socketPath: path) }
        let mode = try FileManager.default.attributesOfItem(atPath: scratch.path + "/readers")[.posixPermissions] as? Int
        #expect(mode == 0o711)
        let error = await #expect(throws: RayStoreError.self) { try await Session.connect(socket: path) }
        #expect(error?.code == .unreachable)
        let reader = try await Session.connect(socket: path, access: .guardedReader)
        await reader.close()
        _ = node
        await cluster.stop()
        #expect(!FileManager.default.fileExists(atPath: path))
    }
}
