// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// A deletion that is under way, or still to come, does not hit the file that has come in the place of the deleted one.
@Suite struct SpillNameTests {
    /// Another cluster's objects have the ids of the last one's, so its files have the same names.
    @Test func aDeletionOfAnEarlierLifesFileIsAwaited() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let (state, spill) = (scratch.path + "/state", scratch.path + "/spill")
        let gate = DeletionGate()
        var names: [String] = []
        try await withNodeLife(state, capacity: 32 << 20, gate.over(spill)) { node, session in
            let ref = try session.put(bytes: pattern(1 << 20, seed: 1))
            _ = await node.freeMemory(32 << 20)
            _ = ref
            names = spillFiles(spill)
            #expect(names.count == 1)
            try FileManager.default.copyItem(atPath: spill, toPath: scratch.path + "/kept")
        }
        // As after a kill.
        try? FileManager.default.removeItem(atPath: spill)
        try FileManager.default.moveItem(atPath: scratch.path + "/kept", toPath: spill)
        gate.fails = true
        try await withNodeLife(state, capacity: 32 << 20, gate.over(spill)) { node, session in
            #expect(await eventually { gate.failedCount > 0 })
            gate.isHeld = true
            gate.fails = false
            #expect(await eventually { gate.heldCount > 0 })
            let written = gate.spillCount
            let ref = try session.put(bytes: pattern(1 << 20, seed: 2))
            async let freed = node.freeMemory(32 << 20)
            // Nothing is written in the place of what is being deleted: there is no event to wait for, so this lasts a second.
            #expect(await !eventually(within: .seconds(1)) { gate.spillCount > written })
            gate.isHeld = false
            #expect(await freed > 0)
            #expect(spillFiles(spill) == names)
            let value = try await session.get(ref)
            #expect(equal(value, pattern(1 << 20, seed: 2)))
        }
    }

    /// A batch whose file could not be used is written again under the same name while the file is to be deleted.
    @Test func aFileThatIsWrittenAgainIsNotDeleted() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let gate = DeletionGate()
        gate.emptySpills = 1
        gate.isHeld = true
        try await withNodeLife(scratch.path + "/state", capacity: 32 << 20, gate.over(scratch.path + "/spill")) { node, session in
            let ref = try session.put(bytes: pattern(1 << 20, seed: 1))
            async let freed = node.freeMemory(32 << 20)
            #expect(await eventually { gate.heldCount > 0 })
            #expect(await !eventually(within: .seconds(1)) { gate.spillCount > 1 })
            gate.isHeld = false
            #expect(await freed > 0)
            let value = try await session.get(ref)
            #expect(equal(value, pattern(1 << 20, seed: 1)))
            try await session.free(ref)
            #expect(await eventually { spillFiles(scratch.path).isEmpty })
        }
    }
}

/// A storage, one in which a file replaces the one of its name, whose deletions a test makes fail or holds.
private final class DeletionGate: Sendable {
    private struct State {
        var fails = false
        var failedCount = 0
        var isHeld = false
        var heldCount = 0
        var spillCount = 0
        var emptySpills = 0
    }

    private let state = Mutex(State())

    var fails: Bool {
        get { state.withLock { $0.fails } }
        set { state.withLock { $0.fails = newValue } }
    }
    var isHeld: Bool {
        get { state.withLock { $0.isHeld } }
        set { state.withLock { $0.isHeld = newValue } }
    }
    /// Files that are to be written and said to have no record.
    var emptySpills: Int {
        get { state.withLock { $0.emptySpills } }
        set { state.withLock { $0.emptySpills = newValue } }
    }
    var failedCount: Int { state.withLock { $0.failedCount } }
    var heldCount: Int { state.withLock { $0.heldCount } }
    var spillCount: Int { state.withLock { $0.spillCount } }

    func over(_ folder: String) -> any ExternalStorage {
        Storage(storage: FilesystemStorage(directories: [folder], owner: "node"), gate: self)
    }

    private struct Storage: ExternalStorage {
        let storage: FilesystemStorage
        let gate: DeletionGate

        var typeName: String { "gated" }
        var canSpill: Bool { true }

        func validate() async throws(RayStoreError) { try await storage.validate() }

        func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
            // As S3 does: a new file takes the place of one of its name.
            for file in try await storage.files() where file.hasSuffix("/" + batch.name) { try await storage.delete(file) }
            var file = try await storage.spill(batch)
            gate.state.withLock { state in
                state.spillCount += 1
                guard state.emptySpills > 0 else { return }
                state.emptySpills -= 1
                file.recordCount = 0
            }
            return file
        }

        func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
            try await storage.restore(file, from: offset, into: memory)
        }

        func delete(_ file: String) async throws(RayStoreError) {
            let fails = gate.state.withLock { state in
                if state.fails { state.failedCount += 1 }
                if state.isHeld { state.heldCount += 1 }
                return state.fails
            }
            if fails { throw RayStoreError(.system, "the test lets this deletion fail") }
            while gate.isHeld { try? await Task.sleep(for: .milliseconds(5)) }
            try await storage.delete(file)
        }

        func files() async throws(RayStoreError) -> [String] { try await storage.files() }

        func destroy() async throws(RayStoreError) { try await storage.destroy() }
    }
}
