// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// Files on a disk of 64 MiB: which copies make room for others, which stay, and what is said when there is none.
@Suite(.serialized, .enabled(if: SmallDisk.isPossible, "this user may not mount a small disk"))
struct DiskRoomTests {
    private static let size = 18 << 20

    /// Two owners with room, and a node whose files are on the small disk.
    private struct Scene {
        let cluster: LocalCluster
        let disk: SmallDisk
        let owner: Session
        let ownerNode: Node
        let here: Session
        let hereNode: Node
        let scratch: Scratch

        static func with(
            receive: ByteCount? = nil, configure: @Sendable (inout NodeOptions) -> Void = { _ in },
            _ body: (Scene) async throws -> Void
        ) async throws {
            let scratch = try Scratch()
            defer { scratch.remove() }
            let disk = try SmallDisk(bytes: 64 << 20)
            defer { disk.remove() }
            try await withNodes(1) { cluster, nodes, sessions in
                let here = try await cluster.addNode { options in
                    options.stateDirectory = disk.path + "/node"
                    options.caps.receive = receive
                    configure(&options)
                }
                let session = try await Session.connect(socket: here.socketPath)
                let scene = Scene(
                    cluster: cluster, disk: disk, owner: sessions[0], ownerNode: nodes[0], here: session, hereNode: here,
                    scratch: scratch)
                do {
                    try await body(scene)
                } catch {
                    await session.close()
                    await here.stop()
                    throw error
                }
                await session.close()
                // Before the disk goes.
                await here.stop()
            }
        }

        /// A file of the owner's, opened here and not yet got; the owner's own ref stays.
        func remote(_ seed: UInt64, size: Int = DiskRoomTests.size) async throws -> Remote {
            let path = try scratch.file("f\(seed)", size: size, seed: seed)
            let ref = try await owner.put(RayFile(path: path))
            try FileManager.default.removeItem(atPath: path)
            return Remote(kept: ref, ref: try await here.open(ref.shared()), seed: seed, size: size)
        }

        /// Gets it and lets go of the file at once.
        func touch(_ file: Remote, timeout: Duration = .seconds(30)) async throws {
            let got = try await here.get(file.ref, timeout: timeout)
            #expect(try read(got.path) == pattern(file.size, seed: file.seed))
        }

        func isHere(_ file: Remote) -> Bool {
            disk.files().contains { $0.contains("/jobs/") && $0.contains("\(file.ref.id)") }
        }

        func report() async throws -> NodeReport {
            let text = try await here.report("status")
            let report = try JSONDecoder().decode(ClusterReport.self, from: Data(text.utf8))
            return try #require(report.nodes.first { $0.node.id == hereNode.description.id })
        }

        var partials: [String] { disk.files().filter { $0.contains("/partial/") } }
    }

    private struct Remote: Sendable {
        let kept: ObjectRef<RayFile>
        let ref: ObjectRef<RayFile>
        let seed: UInt64
        let size: Int
    }

    @Test func copiesGoLeastRecentlyUsedFirstAndComeBackWhenWanted() async throws {
        try await Scene.with { scene in
            let a = try await scene.remote(1)
            let b = try await scene.remote(2)
            let c = try await scene.remote(3)
            let d = try await scene.remote(4)
            for file in [a, b, c] { try await scene.touch(file) }
            try await scene.touch(a)
            try await scene.touch(d)
            #expect([a, b, c, d].map(scene.isHere) == [true, false, true, true])
            // It is known here all the same, and pulled again.
            #expect(try !scene.here.contains(b.ref))
            try await scene.touch(b)
            #expect([a, b, c, d].map(scene.isHere) == [true, true, false, true])
            #expect(scene.partials.isEmpty)
            let report = try #require(await scene.report().disk)
            #expect(report.droppedFileCount == 2 && report.droppedFileBytes == UInt64(2 * Self.size))
            #expect(report.totalBytes == 64 << 20 && report.keptBytes == 0 && report.waitingCount == 0)
            #expect(report.freeBytes == UInt64(scene.disk.free))
        }
    }

    @Test func whatProcessesHaveOpenAndWhatIsOwnedHereStays() async throws {
        try await Scene.with { scene in
            let own = try await scene.here.put(RayFile(path: scene.scratch.file("own", size: Self.size, seed: 9)))
            let a = try await scene.remote(1)
            let b = try await scene.remote(2)
            let c = try await scene.remote(3)
            let open = try await scene.here.get(a.ref)
            try await scene.touch(b)
            // The older one is open, so the younger goes.
            try await scene.touch(c)
            #expect([a, b, c].map(scene.isHere) == [true, false, true])
            let alsoOpen = try await scene.here.get(c.ref)
            let error = await failure { _ = try await scene.here.get(b.ref, timeout: .seconds(20)) }
            #expect(error?.code == .outOfDisk)
            let text = error?.message ?? ""
            for part in [
                "\(Self.size) bytes needed", "free at \(scene.disk.path)/node",
                "\(Self.size) bytes are 1 files that this node owns",
                "\(2 * Self.size) bytes are 2 copies that processes have open",
            ] {
                #expect(text.contains(part), "\(text)")
            }
            let free = text.firstMatch(of: /needed, (\d+) free/).flatMap { Int($0.1) }
            #expect(abs((free ?? 0) - scene.disk.free) < 1 << 20)
            #expect(scene.partials.isEmpty)
            #expect(try read(open.path) == pattern(Self.size, seed: 1))
            #expect(try read(alsoOpen.path) == pattern(Self.size, seed: 3))
            #expect(try read(await scene.here.get(own).path) == pattern(Self.size, seed: 9))
        }
    }

    /// A file that could never fit is refused at once, and costs nobody his copy.
    @Test func whatIsLargerThanTheDiskIsRefused() async throws {
        try await Scene.with { scene in
            let large = try await scene.remote(1, size: 80 << 20)
            let error = await failure { _ = try await scene.here.get(large.ref, timeout: .seconds(20)) }
            #expect(error?.code == .outOfDisk)
            #expect(error?.message.contains("\(80 << 20) bytes needed") == true)
            #expect(scene.disk.files().isEmpty)
        }
    }

    /// Somebody else takes the disk while a file comes: a copy goes, and the pull goes on with what it has.
    @Test func aDiskThatSomebodyFillsMeanwhileCostsACopy() async throws {
        try await Scene.with(receive: .mebibytes(16)) { scene in
            let a = try await scene.remote(1)
            let b = try await scene.remote(2, size: 24 << 20)
            try await scene.touch(a)
            let before = try await scene.report().receivedBytes
            let hasFilled = Mutex(false)
            let disk = scene.disk
            let got = try await scene.here.get(b.ref, timeout: .seconds(60)) { progress in
                guard progress.done.bytes > 6 << 20, !hasFilled.withLock({ $0 }) else { return }
                hasFilled.withLock { $0 = true }
                try? disk.fill(leaving: 1 << 20)
            }
            #expect(try read(got.path) == pattern(b.size, seed: 2))
            #expect(hasFilled.withLock { $0 })
            #expect([a, b].map(scene.isHere) == [false, true])
            #expect(try await scene.report().receivedBytes - before < UInt64(b.size * 3 / 2), "it did not begin anew")
            scene.disk.unfill()
        }
    }

    /// The same when nothing can go: the error says so, and the partial file is gone.
    @Test func aDiskThatSomebodyFillsForGoodIsOutOfDisk() async throws {
        try await Scene.with(receive: .mebibytes(16)) { scene in
            let b = try await scene.remote(2, size: 24 << 20)
            let disk = scene.disk
            let error = await failure {
                _ = try await scene.here.get(b.ref, timeout: .seconds(60)) { progress in
                    if progress.done.bytes > 6 << 20 { try? disk.fill(leaving: 1 << 20) }
                }
            }
            #expect(error?.code == .outOfDisk)
            #expect(error?.message.contains("bytes needed of its \(b.size)") == true, "\(error?.message ?? "")")
            #expect(scene.disk.files().isEmpty)
            scene.disk.unfill()
            try await scene.touch(b)
        }
    }

    /// Two that fit alone and not together: the second waits for the first, whose copy then makes room.
    @Test func pullsThatDoNotFitTogetherTakeTurns() async throws {
        try await Scene.with(receive: .mebibytes(32)) { scene in
            let files = [try await scene.remote(1, size: 40 << 20), try await scene.remote(2, size: 40 << 20)]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for file in files { group.addTask { _ = try await scene.here.get(file.ref, timeout: .seconds(60)) } }
                try await group.waitForAll()
            }
            #expect(files.filter(scene.isHere).count == 1)
            for file in files { try await scene.touch(file) }
            #expect(scene.partials.isEmpty)
        }
    }

    /// Readers have their time from when the file came, however long the way took.
    @Test func whoReadsWhatCameSlowlyIsWaitedForAsLong() async throws {
        try await Scene.with(receive: .mebibytes(14)) { scene in
            let first = try await scene.remote(1, size: 40 << 20)
            let second = try await scene.remote(2, size: 40 << 20)
            let contents = pattern(first.size, seed: 1)
            let began = Mutex(false)
            let reading = Task {
                let file = try await scene.here.get(first.ref, timeout: .seconds(60)) { progress in
                    if progress.done.bytes > 0 { began.withLock { $0 = true } }
                }
                // Longer than what has just come is left alone, much shorter than a reader is waited for.
                try await Task.sleep(for: .milliseconds(500))
                return try read(file.path) == contents
            }
            #expect(await eventually { began.withLock { $0 } })
            try await scene.touch(second, timeout: .seconds(60))
            #expect(try await reading.value)
            #expect([first, second].map(scene.isHere) == [false, true])
        }
    }

    @Test func aWaitForRoomEndsWithItsGet() async throws {
        try await Scene.with(receive: .mebibytes(4)) { scene in
            let first = try await scene.remote(1, size: 40 << 20)
            let second = try await scene.remote(2, size: 40 << 20)
            let began = Mutex(false)
            let slow = Task {
                try await scene.here.get(first.ref) { progress in
                    if progress.done.bytes > 0 { began.withLock { $0 = true } }
                }
            }
            #expect(await eventually { began.withLock { $0 } })
            let error = await failure { _ = try await scene.here.get(second.ref, timeout: .seconds(1)) }
            #expect(error?.code == .timedOut)
            #expect(scene.partials.allSatisfy { $0.contains("\(first.ref.id)") })
            slow.cancel()
            #expect(await failure { _ = try await slow.value }?.code == .cancelled)
            #expect(await eventually { scene.disk.files().isEmpty })
            // What the two had reserved is free again.
            let third = try await scene.remote(3, size: 2 << 20)
            try await scene.touch(third)
        }
    }

    /// Half of the disk: copies and what is put make room at the mark already, and the numbers say what is kept.
    @Test func filesStopAtTheWatermark() async throws {
        try await Scene.with(configure: { $0.diskWatermark = 0.5 }) { scene in
            let a = try await scene.remote(1)
            let b = try await scene.remote(2)
            try await scene.touch(a)
            try await scene.touch(b)
            #expect([a, b].map(scene.isHere) == [false, true])
            // A file that is put makes room as well.
            let own = try await scene.here.put(RayFile(path: scene.scratch.file("own", size: Self.size, seed: 9)))
            #expect([a, b].map(scene.isHere) == [false, false])
            let error = await failure {
                _ = try await scene.here.put(RayFile(path: scene.scratch.file("more", size: Self.size)))
            }
            #expect(error?.code == .outOfDisk)
            #expect(error?.message.contains("of which \((64 << 20) / 1000 * 500) are kept") == true, "\(error?.message ?? "")")
            #expect(try read(await scene.here.get(own).path) == pattern(Self.size, seed: 9))
        }
        for watermark in [0, -1, 1.5] {
            let error = await failure {
                try await Scene.with(configure: { $0.diskWatermark = watermark }) { _ in }
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func aReserveStaysFree() async throws {
        try await Scene.with(configure: { $0.diskReserve = 40 << 20 }) { scene in
            let a = try await scene.remote(1)
            let b = try await scene.remote(2)
            try await scene.touch(a)
            try await scene.touch(b)
            #expect([a, b].map(scene.isHere) == [false, true])
            #expect(scene.disk.free >= 40 << 20)
        }
    }

    /// The owner's word is needed: without it the copy could be the last.
    @Test func aCopyStaysWhenItsOwnerCannotBeAsked() async throws {
        try await Scene.with { scene in
            let other = try await scene.cluster.addNode()
            let session = try await Session.connect(socket: other.socketPath)
            let path = try scene.scratch.file("other", size: 40 << 20, seed: 5)
            let ref = try await session.put(RayFile(path: path))
            let there = try await scene.here.open(ref.shared())
            let a = try await scene.remote(1, size: 40 << 20)
            try await scene.touch(Remote(kept: ref, ref: there, seed: 5, size: 40 << 20))
            scene.cluster.cut(other)
            let error = await failure { _ = try await scene.here.get(a.ref, timeout: .seconds(30)) }
            #expect(error?.code == .outOfDisk)
            #expect(try scene.here.contains(there))
            scene.cluster.mend(other)
            try await scene.touch(a)
            #expect(try !scene.here.contains(there))
            await session.close()
        }
    }
}
