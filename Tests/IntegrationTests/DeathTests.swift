// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

/// Clients and nodes that are killed with -9.
@Suite(.serialized) struct DeathTests {
    @Test func aKilledProcessCountsAsHavingDroppedItsReferences() async throws {
        try await withCluster(2) { cluster in
            let watcher = try await cluster.session(0)
            let writer = try TestProcess("raystore-test-client", ["hold", cluster.members[0].socket, "5", "300000"])
            defer { writer.end() }
            let refs = try #require(await writer.output(until: "ready"))
            let reader = try TestProcess("raystore-test-client", ["open", cluster.members[1].socket] + refs)
            defer { reader.end() }
            _ = try #require(await reader.output(until: "ready"))
            #expect(try await watcher.census().objects == 10)
            reader.end()
            #expect(try await eventually(within: .seconds(2)) { try await watcher.census().objects == 5 })
            writer.end()
            #expect(try await eventually(within: .seconds(2)) { try await watcher.census().objects == 0 })
            await watcher.close()
        }
    }

    @Test func aKilledBorrowersNodeIsNoticedAndNotWaitedFor() async throws {
        try await withCluster(2) { cluster in
            let watcher = try await cluster.session(0)
            let session = try await cluster.session(0)
            try await borrowAndDrop(session, cluster)
            #expect(try await watcher.census().objects == 2)
            cluster.members[1].process.end()
            // About 2 s until the node is given up, then the object has no reference left.
            #expect(try await eventually(within: .seconds(8)) { try await watcher.census().objects == 0 })
            await session.close()
            await watcher.close()
        }
    }

    /// Leaves an object whose only reference is another node's.
    private func borrowAndDrop(_ session: Session, _ cluster: TestCluster) async throws {
        let ref = try session.put(bytes: pattern(300_000))
        let text = try await ref.shared().text
        let reader = try TestProcess("raystore-test-client", ["open", cluster.members[1].socket, text])
        readers.append(reader)
        _ = try #require(await reader.output(until: "ready"))
    }

    private final class Readers: @unchecked Sendable {
        private var all: [TestProcess] = []
        func append(_ process: TestProcess) { all.append(process) }
        deinit { for process in all { process.end() } }
    }
    private let readers = Readers()

    @Test func aKilledOwnersNodeIsAnErrorThatSaysSo() async throws {
        try await withCluster(3) { cluster in
            let owner = try await cluster.session(1)
            let reader = try await cluster.session(2)
            let ref = try await reader.open(owner.put(bytes: pattern(1 << 20)).shared())
            cluster.members[1].process.end()
            let error = await failure { _ = try await reader.get(ref, timeout: .seconds(20)) }
            #expect(error?.code == .ownerDied)
            let late = await failure { _ = try await reader.get(ref, timeout: .seconds(5)) }
            #expect(late?.code == .ownerDied)
            await reader.close()
        }
    }

    @Test func aHolderKilledInTheMiddleLeavesTheOtherToFinish() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withCluster(3) { cluster in
            let size = 200 << 20
            let owner = try await cluster.session(0)
            let ref = try await owner.put(RayFile(path: scratch.file("f", size: size)))
            let text = try await ref.shared().text
            let second = try TestProcess("raystore-test-client", ["file", cluster.members[1].socket, text])
            defer { second.end() }
            _ = try #require(await second.output(until: "ready"))

            let reader = try await cluster.session(2)
            let there = try await reader.open(ref.shared())
            let holder = cluster.members[1].process
            let file = try await reader.get(
                there, timeout: .seconds(60), progress: { if $0.fraction > 0.2 { holder.signal(SIGKILL) } })
            holder.signal(SIGKILL)
            #expect(try read(file.path) == pattern(size))
            await reader.close()
            await owner.close()
        }
    }

    @Test func clientsThatAreKilledLeakNothingAndStopNobody() async throws {
        let kills = Int(ProcessInfo.processInfo.environment["RAYSTORE_KILLS"] ?? "") ?? 40
        try await withCluster(1, memory: "64MiB") { cluster in
            let watcher = try await cluster.session(0)
            let socket = cluster.members[0].socket
            var seed = UInt64.random(in: 1...1_000_000)
            print("RAYSTORE_SEED=\(seed)")
            func worker() throws -> TestProcess {
                seed += 1
                return try TestProcess("raystore-test-client", ["churn", socket, "\(watcher.job)", "\(seed)"])
            }
            // One that stays alive shows that nobody is stuck.
            let survivor = try worker()
            var workers = try (0..<3).map { _ in try worker() }
            defer { for process in workers + [survivor] { process.end() } }
            for _ in 0..<kills {
                let index = Int.random(in: 0..<workers.count)
                _ = await workers[index].nextLine()
                workers[index].end()
                #expect(await survivor.nextLine() != nil)
                workers[index] = try worker()
            }
            for process in workers { process.end() }
            #expect(survivor.isRunning)
            survivor.end()
            #expect(try await eventually { try await watcher.census() == (0, 0) })
            // Every byte is free again: one object of nearly the whole store fits.
            let whole = try watcher.put(bytes: [UInt8](repeating: 7, count: 60 << 20))
            #expect(try watcher.contains(whole))
            await watcher.close()
        }
    }
}
