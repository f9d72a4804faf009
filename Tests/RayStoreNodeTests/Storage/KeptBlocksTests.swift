// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Foundation
import RayStore
import Synchronization
import TestSupport
import Testing

@testable import RayStoreNode

/// Several ask for parts of one block of a record at a time, as the transfer engine's threads do.
@Suite struct KeptBlocksTests {
    private static let block = Int(RAY_SPILL_SUM_BYTES)
    private static let askers = 8

    /// Answers which of them had what is there, and how often it was read.
    private func readAtOnce(_ storage: SlowlyRead) async -> [Bool] {
        let objects = SpilledObjects(sizes: [100, Self.block + 9])
        storage.file = Array(objects.layout.batch.copy(ofFirst: 2))
        let record = objects.layout.record(1, in: "file", path: nil)
        let source = RecordSource(objectID(seed: 1, number: 1), [record], in: storage, keeping: KeptBlocks()) { $1 }
        let data = Array(storage.file[Int(record.dataOffset)..<Int(record.dataOffset) + Self.block])
        return await withTaskGroup(of: Bool.self) { group in
            for number in 0..<Self.askers {
                group.addTask {
                    await onThread {
                        var part = [UInt8](repeating: 0, count: 1000)
                        storage.arrive()
                        let from = number * 5000
                        guard (try? part.withUnsafeMutableBytes { try source.read(from: UInt64(from), into: $0) }) != nil else {
                            return false
                        }
                        return part == Array(data[from..<from + 1000])
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test func aBlockThatSeveralAskForIsReadOnce() async {
        let storage = SlowlyRead(waitsFor: Self.askers)
        let outcomes = await readAtOnce(storage)
        #expect(outcomes == [Bool](repeating: true, count: Self.askers))
        #expect(storage.readCount == 1)
    }

    /// Who waited for a reading that fails asks by itself.
    @Test func aReadingThatFailsIsOneAskersFailure() async {
        let storage = SlowlyRead(waitsFor: Self.askers, failures: 1)
        let outcomes = await readAtOnce(storage)
        #expect(outcomes.filter { !$0 }.count == 1)
        #expect(storage.readCount == 2)
    }
}

/// Runs it on a thread of its own: it blocks.
private func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: body()) }
    }
}

/// One file in memory, whose first reading takes until so many have come to ask.
private final class SlowlyRead: DirectStorage {
    private struct Contents {
        var file: [UInt8] = []
        var arrived = 0
        var readCount = 0
        var failures: Int
    }

    private let contents: Mutex<Contents>
    private let awaited: Int

    init(waitsFor awaited: Int, failures: Int = 0) {
        self.awaited = awaited
        contents = Mutex(Contents(failures: failures))
    }

    var file: [UInt8] {
        get { contents.withLock { $0.file } }
        set { contents.withLock { $0.file = newValue } }
    }

    var readCount: Int { contents.withLock { $0.readCount } }

    func arrive() { contents.withLock { $0.arrived += 1 } }

    func restoreHere(_ file: String, from offset: UInt64, into memory: SpillMemory) throws(RayStoreError) {
        let end = ContinuousClock.now + .seconds(10)
        while contents.withLock({ $0.arrived < awaited }), ContinuousClock.now < end { usleep(1000) }
        let fails = contents.withLock { contents in
            contents.readCount += 1
            contents.failures -= 1
            return contents.failures >= 0
        }
        if fails { throw RayStoreError(.unreachable, "the test lets this reading fail") }
        let bytes = self.file
        try memory.write(Array(bytes[Int(offset)..<Int(offset + memory.byteCount)]), at: 0)
    }

    let typeName = "slowly read"
    let canSpill = true

    func validate() async throws(RayStoreError) {}
    func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile { throw Self.unused }
    func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) { throw Self.unused }
    func delete(_ file: String) async throws(RayStoreError) { throw Self.unused }
    func files() async throws(RayStoreError) -> [String] { throw Self.unused }
    func destroy() async throws(RayStoreError) {}

    private static let unused = RayStoreError(.unsupported, "the test asks for none of this")
}
