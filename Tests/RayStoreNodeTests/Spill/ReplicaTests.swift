// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// Copies of other nodes' objects make room, with and without a storage.
@Suite struct ReplicaTests {
    @Test(arguments: [false, true])
    func copiesGoBeforeAnythingIsWritten(canSpill: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let owner = try await cluster.addNode(capacity: 128 << 20)
        let borrower = try await cluster.addNode(
            capacity: 16 << 20,
            storage: canSpill ? FilesystemStorage(directories: [scratch.path], owner: "b") : NoExternalStorage())
        let giver = try await Session.connect(socket: owner.socketPath)
        let taker = try await Session.connect(socket: borrower.socketPath)
        let own = try taker.put(bytes: pattern(1 << 20, seed: 77))
        var refs: [ObjectRef<Bytes>] = []
        for number in 0..<24 {
            let ref = try giver.put(bytes: pattern(2 << 20, seed: UInt64(number)))
            let there: ObjectRef<Bytes> = try await taker.open(ref.shared())
            if borrower.storeUsedBytes > 12 << 20 { _ = await borrower.freeMemory(3 << 20) }
            let value = try await taker.get(there, timeout: .seconds(30))
            #expect(equal(value, pattern(2 << 20, seed: UInt64(number))))
            refs.append(there)
        }
        // What went comes again, from its owner.
        let first = try await taker.get(refs[0], timeout: .seconds(30))
        #expect(equal(first, pattern(2 << 20, seed: 0)))
        // Its own, used longest ago, is still here: copies went first.
        #expect(try taker.contains(own))
        #expect(spillFiles(scratch.path).isEmpty)
        await giver.close()
        await taker.close()
        await cluster.stop()
    }

    @Test func aCopyBehindOlderObjectsThatMustStayMakesRoomToo() async throws {
        let cluster = try await LocalCluster()
        let owner = try await cluster.addNode(capacity: 64 << 20)
        let borrower = try await cluster.addNode(capacity: 16 << 20, storage: NoExternalStorage())
        let giver = try await Session.connect(socket: owner.socketPath)
        let taker = try await Session.connect(socket: borrower.socketPath)
        var own: [ObjectRef<Bytes>] = []
        for number in 0..<8 { own.append(try taker.put(bytes: pattern(1 << 20, seed: UInt64(number)))) }
        let ref = try giver.put(bytes: pattern(4 << 20))
        let there: ObjectRef<Bytes> = try await taker.open(ref.shared())
        _ = try await taker.get(there, timeout: .seconds(30))
        let large = try await taker.put(bytes: pattern(6 << 20), within: .seconds(30))
        #expect(try taker.contains(large) && !taker.contains(there))
        for ref in own { #expect(try taker.contains(ref)) }
        await giver.close()
        await taker.close()
        await cluster.stop()
    }

    /// A ref of another node's object, which is not even here, is a reason to look for copies only.
    @Test func whatHasJustComeBackStaysThoughCopiesAreLookedFor() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let owner = try await cluster.addNode(capacity: 16 << 20)
        let borrower = try await cluster.addNode(
            capacity: 64 << 20, storage: FilesystemStorage(directories: [scratch.path], owner: "b")
        ) { options in
            options.spill.fileBytes = 1 << 20
            options.spill.highWatermark = 1
        }
        let giver = try await Session.connect(socket: owner.socketPath)
        let taker = try await Session.connect(socket: borrower.socketPath)
        let elsewhere = try giver.put(bytes: pattern(1 << 20))
        let there: ObjectRef<Bytes> = try await taker.open(elsewhere.shared())
        var small: [ObjectRef<Bytes>] = []
        for number in 0..<200 { small.append(try taker.put(bytes: pattern(64 << 10, seed: UInt64(number)))) }
        let large = try taker.put(bytes: pattern(6 << 20))
        // All of them have a record then.
        try await spillAll(of: borrower, until: { try !taker.contains(large) && !small.contains { try taker.contains($0) } })
        for ref in small { _ = try await taker.get(ref) }
        _ = try await taker.get(large)
        #expect(await borrower.freeMemory(2 << 20) >= 2 << 20)
        #expect(try taker.contains(large) && small.contains { try !taker.contains($0) })
        #expect(try !taker.contains(there))
        await giver.close()
        await taker.close()
        await cluster.stop()
    }

    /// A borrower with 20 MiB of its own, then copies of so many bytes, then 16 MiB more of its own; frees 4 MiB.
    private func freeBehindOwn(copies sizes: [Int], _ check: (_ holds: [Bool], _ written: Int) -> Void)
        async throws
    {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let owner = try await cluster.addNode(capacity: 64 << 20)
        let borrower = try await cluster.addNode(
            capacity: 64 << 20, storage: FilesystemStorage(directories: [scratch.path], owner: "b"))
        let giver = try await Session.connect(socket: owner.socketPath)
        let taker = try await Session.connect(socket: borrower.socketPath)
        var own: [ObjectRef<Bytes>] = []
        for number in 0..<20 { own.append(try taker.put(bytes: pattern(1 << 20, seed: UInt64(number)))) }
        var copies: [ObjectRef<Bytes>] = []
        for (number, size) in sizes.enumerated() {
            let ref = try giver.put(bytes: pattern(size, seed: UInt64(100 + number)))
            let there: ObjectRef<Bytes> = try await taker.open(ref.shared())
            _ = try await taker.get(there, timeout: .seconds(30))
            copies.append(there)
        }
        for number in 20..<36 { own.append(try taker.put(bytes: pattern(1 << 20, seed: UInt64(number)))) }
        _ = await borrower.freeMemory(4 << 20)
        check(try copies.map { try taker.contains($0) }, spillFiles(scratch.path).count)
        for ref in own { #expect(try taker.contains(ref)) }
        await giver.close()
        await taker.close()
        await cluster.stop()
    }

    @Test func aCopyBehindOlderObjectsThatCouldBeWrittenGoesBeforeThem() async throws {
        try await freeBehindOwn(copies: [6 << 20]) { holds, written in
            #expect(holds == [false])
            #expect(written == 0)
        }
    }

    @Test func aSmallCopyStaysWhereALargeOneMakesTheRoom() async throws {
        try await freeBehindOwn(copies: [80 << 10, 80 << 10, 5 << 20]) { holds, written in
            #expect(holds == [true, true, false])
            #expect(written == 0)
        }
    }

    /// What others allow, and what can be written, need not wait for it, and the next who want room do not wait at all.
    @Test(.timeLimit(.minutes(2))) func anOwnerThatDoesNotAnswerIsWaitedForOnce() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let owner = try await cluster.addNode(capacity: 64 << 20)
        let clock = ManualClock()
        let borrower = try await cluster.addNode(
            capacity: 48 << 20, storage: FilesystemStorage(directories: [scratch.path], owner: "b"), clock: clock)
        let giver = try await Session.connect(socket: owner.socketPath)
        let taker = try await Session.connect(socket: borrower.socketPath)
        let refs = try [1, 2].map { try giver.put(bytes: pattern(6 << 20, seed: $0)) }
        var copies: [ObjectRef<Bytes>] = []
        for ref in refs {
            copies.append(try await taker.open(ref.shared()))
            _ = try await taker.get(copies.last!, timeout: .seconds(30))
        }
        func counted() async throws -> [Bool] {
            let report = try JSONDecoder().decode(ObjectsReport.self, from: Data(try await giver.report("list").utf8))
            return refs.map { ref in report.objects.first { $0.object == ref.id && $0.isOwner }?.holders == 1 }
        }
        #expect(try await eventually { try await counted() == [true, true] })
        let own = try (0..<16).map { try taker.put(bytes: pattern(1 << 20, seed: UInt64(10 + $0))) }

        cluster.silence(owner)
        let hasFreed = Mutex(false)
        let freed = Task {
            defer { hasFreed.withLock { $0 = true } }
            return await borrower.freeMemory(8 << 20)
        }
        #expect(
            await eventually {
                clock.advance(by: .milliseconds(50))
                return hasFreed.withLock { $0 }
            })
        #expect(await freed.value >= 8 << 20)
        // Time stands still from here on: an answer that is waited for never comes.
        #expect(await borrower.freeMemory(2 << 20) >= 2 << 20)
        #expect(try copies.allSatisfy { try taker.contains($0) })
        #expect(!spillFiles(scratch.path).isEmpty)

        // It allows both to go, too late: they have stayed and count as before. The next question is asked again, for one of them.
        cluster.hear(owner)
        #expect(
            try await eventually {
                _ = await borrower.freeMemory(1 << 20)
                return try !taker.contains(copies[0])
            })
        #expect(try taker.contains(copies[1]))
        #expect(try await eventually { try await counted() == [false, true] })
        #expect(equal(try await taker.get(copies[0], timeout: .seconds(30)), pattern(6 << 20, seed: 1)))
        for ref in own { _ = try await taker.get(ref, timeout: .seconds(30)) }
        await giver.close()
        await taker.close()
        await cluster.stop()
    }
}
