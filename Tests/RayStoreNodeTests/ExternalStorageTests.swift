// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// What the node asks of its external storage, and when.
@Suite struct ExternalStorageTests {
    @Test func storageIsValidatedOnceBeforeJoiningAndDestroyedOnceAtStop() async throws {
        let storage = RecordingStorage()
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(storage: storage)
        #expect(storage.calls == ["validate"])
        await node.stop()
        await node.stop()
        #expect(storage.calls == ["validate", "destroy"])
        await cluster.stop()
    }

    @Test func aRefusingStoragesErrorReachesTheCallerAndLeavesNothingBehind() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let state = scratch.path + "/state"
        let refusal = RayStoreError(.invalidArgument, "directory_path: /nowhere is no directory; make it or name another")
        let storage = RecordingStorage(refusal: refusal)
        let error = await failure { _ = try await cluster.addNode(storage: storage) { $0.stateDirectory = state } }
        #expect(error == refusal)
        #expect(storage.calls == ["validate"])
        #expect(try await cluster.control.nodes().isEmpty)
        // The same directory can be used: its lock is free.
        let node = try await cluster.addNode { $0.stateDirectory = state }
        #expect(try await cluster.control.nodes().map(\.id) == [node.description.id])
        await cluster.stop()
    }

    @Test func aStartThatFailsAfterValidationDestroysTheStorageOnce() async throws {
        let cluster = try await LocalCluster()
        let first = try await cluster.addNode()
        let storage = RecordingStorage()
        // Its bulk port is the first node's.
        let taken = await failure {
            _ = try await cluster.addNode(storage: storage) { $0.bulkPort = first.description.bulkPort }
        }
        #expect(taken?.code == .addressInUse)
        #expect(storage.calls == ["validate", "destroy"])
        // Its socket cannot be made: the node has joined by then, and is stopped.
        let late = RecordingStorage()
        let unopened = await failure {
            _ = try await cluster.addNode(storage: late) { $0.socketPath = $0.stateDirectory + "/no/such/folder/node.sock" }
        }
        #expect(unopened != nil)
        #expect(late.calls == ["validate", "destroy"])
        #expect(try await cluster.control.nodes().map(\.id) == [first.description.id])
        await cluster.stop()
    }

    @Test func aFailingDestroyDoesNotKeepTheNodeFromStopping() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let state = scratch.path + "/state"
        let storage = RecordingStorage(failsDestroy: true)
        let session = try await Session.start(capacity: 16 << 20, stateDirectory: state, storage: storage)
        await session.close()
        #expect(storage.calls == ["validate", "destroy"])
        let again = try await Session.start(capacity: 16 << 20, stateDirectory: state)
        await again.close()
    }

    @Test func theStatusReportNamesTheStorage() async throws {
        let usual = try await Session.start(capacity: 16 << 20)
        #expect(try await standing(usual) == ["filesystem true"])
        await usual.close()
        let none = try await Session.start(capacity: 16 << 20, storage: NoExternalStorage())
        #expect(try await standing(none) == ["none false"])
        await none.close()
        let some = try await Session.start(capacity: 16 << 20, storage: RecordingStorage())
        #expect(try await standing(some) == ["recording true"])
        await some.close()
    }

    private func standing(_ session: Session) async throws -> [String] {
        let text = try await session.report("status")
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(text.utf8))
        return report.nodes.map { "\($0.storage) \($0.canSpill)" }
    }

    @Test(arguments: [false, true])
    func aPullIntoAFullStoreSaysThatSpillingIsOffWhenItIs(canSpill: Bool) async throws {
        let cluster = try await LocalCluster()
        let source = try await cluster.addNode()
        let target = try await cluster.addNode(
            capacity: 16 << 20, storage: canSpill ? RecordingStorage() : NoExternalStorage())
        let giver = try await Session.connect(socket: source.socketPath)
        let taker = try await Session.connect(socket: target.socketPath)
        let ref = try giver.put(bytes: pattern(24 << 20))
        let opened = try await taker.open(ref.shared())
        let error = await failure { _ = try await taker.get(opened) }
        #expect(error?.code == .storeFull)
        #expect(error?.message.contains("spilling is off") == !canSpill)
        await giver.close()
        await taker.close()
        await cluster.stop()
    }
}

/// A storage that notes what it is asked.
private final class RecordingStorage: ExternalStorage {
    private let noted = Mutex<[String]>([])
    private let refusal: RayStoreError?
    private let failsDestroy: Bool

    init(refusal: RayStoreError? = nil, failsDestroy: Bool = false) {
        self.refusal = refusal
        self.failsDestroy = failsDestroy
    }

    var calls: [String] { noted.withLock { $0 } }
    var typeName: String { "recording" }
    var canSpill: Bool { true }

    func validate() async throws(RayStoreError) {
        noted.withLock { $0.append("validate") }
        if let refusal { throw refusal }
    }

    func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
        throw RayStoreError(.outOfDisk, "nothing is ever written here")
    }

    func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        throw RayStoreError(.fileNotFound, "\(file): nothing was ever written here")
    }

    func delete(_ file: String) async throws(RayStoreError) {}

    func files() async throws(RayStoreError) -> [String] { [] }

    func destroy() async throws(RayStoreError) {
        noted.withLock { $0.append("destroy") }
        if failsDestroy { throw RayStoreError(.system, "the storage cannot be emptied") }
    }
}
