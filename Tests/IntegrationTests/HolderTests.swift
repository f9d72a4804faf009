// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// Gets whose last holder is killed in the middle, while the owner lives and has no copy itself: they wait for another holder until their time.
///
/// The owner has lost its copy to a storage that was emptied, and has no room to take it back.
@Suite struct HolderTests {
    private static let size = 48 << 20
    private static let window = 8 << 20
    /// Slow enough that the kill comes in the middle.
    private static func tuning(_ rate: Int) -> TransferTuning {
        TransferTuning(chunkSize: .mebibytes(1), window: .bytes(window), rateCap: .mebibytes(rate))
    }

    private final class Scene {
        let cluster: TestCluster
        let owner: Session
        let ref: ObjectRef<Bytes>
        let text: String
        /// Keeps the owner's store full.
        private var filling: PinnedObject?
        private var copies: [Session] = []

        /// The reader is at the head, the owner at node 1, the holders at 2 and 3.
        static let (reader, owner, first, second) = (0, 1, 2, 3)

        init(_ cluster: TestCluster, holders: [Int]) async throws {
            self.cluster = cluster
            try await cluster.addNode(memory: "64MiB")
            for _ in 0..<2 { try await cluster.addNode() }
            owner = try await cluster.session(Self.owner)
            ref = try owner.put(bytes: pattern(HolderTests.size))
            text = try await ref.shared().text
            for holder in holders { try await hold(holder) }
            let fill = try await owner.put(bytes: pattern(40 << 20, seed: 2), within: .seconds(60))
            filling = try await owner.pin(fill)
            #expect(try !owner.contains(ref))
            try emptyStorage()
        }

        /// Gives a node a copy that stays.
        func hold(_ node: Int) async throws {
            let session = try await cluster.session(node)
            let there: ObjectRef<Bytes> = try await session.open(text)
            _ = try await session.get(there, timeout: .seconds(60)).count
            held.append(there)
            copies.append(session)
        }
        private var held: [ObjectRef<Bytes>] = []

        private func emptyStorage() throws {
            let folder = cluster.members[Self.owner].state + "/spill"
            let all = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
            let files = all.map { folder + "/" + $0 }.filter { path in
                var isDirectory = ObjCBool(false)
                return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && !isDirectory.boolValue
            }
            #expect(!files.isEmpty)
            for file in files { try FileManager.default.removeItem(atPath: file) }
        }

        func signal(_ node: Int, _ number: Int32) {
            cluster.members[node].process.signal(number)
        }

        private func status() async throws -> [NodeReport] {
            try JSONDecoder().decode(ClusterReport.self, from: Data(try await owner.report("status").utf8)).nodes
        }

        func isMember(_ node: Session) async throws -> Bool {
            try await status().contains { $0.node.id == node.nodeID }
        }

        func sent(by node: Session) async throws -> Int {
            Int(try #require(try await status().first { $0.node.id == node.nodeID }).sentBytes)
        }

        /// Begins the get, of so many MiB a second, and answers with what it has when so much has come.
        func begin(
            timeout: Duration, upTo part: Double, rate: Int = 16
        ) async throws -> (get: Task<RayStoreError?, Never>, done: Mutexed) {
            let session = try await cluster.session(Self.reader)
            let there: ObjectRef<Bytes> = try await session.open(text)
            let done = Mutexed()
            let get = Task { () -> RayStoreError? in
                let error = await failure {
                    let bytes = try await session.get(
                        there, timeout: timeout, tuning: HolderTests.tuning(rate), progress: { done.set($0.done.bytes) })
                    #expect(Array(bytes) == pattern(HolderTests.size))
                }
                await session.close()
                return error
            }
            #expect(await eventually(within: .seconds(60)) { Double(done.value) > part * Double(HolderTests.size) })
            return (get, done)
        }

        func close() async {
            for session in copies { await session.close() }
            await owner.close()
        }
    }

    private final class Mutexed: Sendable {
        private let bytes = Mutex(0)
        var value: Int { bytes.withLock { $0 } }
        func set(_ value: Int) { bytes.withLock { $0 = value } }
    }

    private func withScene(_ holders: [Int], _ body: (Scene) async throws -> Void) async throws {
        try await withCluster(1) { cluster in
            let scene = try await Scene(cluster, holders: holders)
            try await body(scene)
            await scene.close()
        }
    }

    /// A node that had a copy was given up before the get began, and is back two seconds after the last holder was killed.
    @Test(.timeLimit(.minutes(2))) func aHolderThatComesBackBringsTheRest() async throws {
        try await withScene([Scene.first, Scene.second]) { scene in
            let second = try await scene.cluster.session(Scene.second)
            scene.signal(Scene.second, SIGSTOP)
            #expect(try await eventually(within: .seconds(60)) { try await !scene.isMember(second) })
            let (get, done) = try await scene.begin(timeout: .seconds(80), upTo: 0.25)
            scene.signal(Scene.first, SIGKILL)
            // That nobody has it for so long is what is tested.
            try await Task.sleep(for: .seconds(2))
            let kept = done.value
            #expect(kept < Self.size)
            scene.signal(Scene.second, SIGCONT)
            #expect(await get.value == nil)
            let sent = try await scene.sent(by: second)
            #expect(sent > 0 && sent <= Self.size - kept + Self.window, "\(sent) bytes sent, \(kept) were here")
            await second.close()
        }
    }

    /// The reader was told of one holder when it began; another node got its copy since.
    @Test(.timeLimit(.minutes(2))) func aHolderThatWasNotOneAtTheBeginningBringsTheRest() async throws {
        try await withScene([Scene.first]) { scene in
            // Slower: meanwhile another node gets a whole copy, beside whatever else this machine does.
            let (get, done) = try await scene.begin(timeout: .seconds(80), upTo: 0.05, rate: 4)
            try await scene.hold(Scene.second)
            let second = try await scene.cluster.session(Scene.second)
            let before = try await scene.sent(by: second)
            scene.signal(Scene.first, SIGKILL)
            let kept = done.value
            #expect(kept < Self.size)
            #expect(await get.value == nil)
            let sent = try await scene.sent(by: second) - before
            #expect(sent > 0 && sent <= Self.size - kept + Self.window, "\(sent) bytes sent, \(kept) were here")
            await second.close()
        }
    }

    @Test(.timeLimit(.minutes(2))) func withoutAnotherHolderTheGetEndsAtItsTimeAndSaysWhatItWaitedFor() async throws {
        try await withScene([Scene.first]) { scene in
            let (get, _) = try await scene.begin(timeout: .seconds(12), upTo: 0.25)
            scene.signal(Scene.first, SIGKILL)
            let error = await get.value
            #expect(error?.code == .timedOut)
            #expect(error?.message.contains("waits for a new holder") == true, "\(String(describing: error))")
        }
    }

    /// How its holder ends: gone at once, or still there for who connects, and silent.
    enum Fall: CaseIterable { case killed, stopped }

    @Test(.timeLimit(.minutes(2)), arguments: Fall.allCases)
    func aPartThatNobodyHasNowEndsAtItsTimeAndSaysWhatItWaitedFor(_ fall: Fall) async throws {
        try await withScene([Scene.first]) { scene in
            let session = try await scene.cluster.session(Scene.reader)
            let there: ObjectRef<Bytes> = try await session.open(scene.text)
            scene.signal(Scene.first, fall == .killed ? SIGKILL : SIGSTOP)
            let error = await failure { _ = try await session.read(there, 5..<100, timeout: .seconds(8)) }
            #expect(error?.code == .timedOut && error?.object == there.id, "\(String(describing: error))")
            let message = error?.message ?? ""
            // Its holder cannot be reached, until the owner knows that it has gone.
            let reason = try #require(
                message.split(separator: "did not arrive in time; ", maxSplits: 1).dropFirst().first, "\(message)")
            #expect(reason.contains("holder") || reason.contains("127.0.0.1"), "\(message)")
            await session.close()
        }
    }

    enum End: CaseIterable { case freed, ownerKilled }

    @Test(.timeLimit(.minutes(2)), arguments: End.allCases) func whatNobodyWillHaveAgainEndsTheGetAtOnce(_ end: End) async throws
    {
        try await withScene([Scene.first]) { scene in
            // Far longer than this test may take.
            let (get, _) = try await scene.begin(timeout: .seconds(600), upTo: 0.25)
            scene.signal(Scene.first, SIGKILL)
            switch end {
            case .freed:
                try await scene.owner.free(scene.ref)
                #expect(await get.value?.code == .objectFreed)
            case .ownerKilled:
                scene.signal(Scene.owner, SIGKILL)
                #expect(await get.value?.code == .ownerDied)
            }
        }
    }
}
