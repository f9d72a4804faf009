// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import Synchronization
import TestSupport
import Testing

@testable import RayStoreNode

/// What a node had got of files when it ended, and what its next life makes of it. `ResumeTests` does the same with killed processes.
@Suite(.serialized) struct LeftPartialTests {
    private static let size = 24 << 20
    private static let chunk = 256 << 10
    /// Slow enough for a node to end in the middle.
    private static let slowly = TransferTuning(
        codec: .none, chunkSize: .kibibytes(256), window: .mebibytes(1), rateCap: .mebibytes(12))
    private static let quickly = TransferTuning(codec: .none, chunkSize: .kibibytes(256))

    /// An owner, and another node that has got a part of the owner's file and was stopped.
    private struct Scene {
        let cluster: LocalCluster
        let owner: Session
        let ref: ObjectRef<RayFile>
        let state: String

        /// - Parameter state: of the node that is stopped and started again; nil for a folder of the test's own.
        static func with(state: String? = nil, _ body: (Scene) async throws -> Void) async throws {
            let scratch = try Scratch()
            defer { scratch.remove() }
            let path = try scratch.file("f", size: LeftPartialTests.size)
            let state = state ?? scratch.path + "/node"
            try await withNodes(1) { cluster, _, sessions in
                let ref = try await sessions[0].put(RayFile(path: path))
                let scene = Scene(cluster: cluster, owner: sessions[0], ref: ref, state: state)
                // On a machine that is busy the file may be there before the stop.
                for _ in 0..<5 where try scene.left().isEmpty { try await scene.getHalf(on: scene.start()) }
                try #require(try scene.left().count == 2)
                try await body(scene)
            }
        }

        func start(_ configure: (inout NodeOptions) -> Void = { _ in }) async throws -> Node {
            try await cluster.addNode { options in
                options.stateDirectory = state
                configure(&options)
            }
        }

        /// Runs with a session on a new node of the same folder, and ends both.
        func again(
            _ configure: (inout NodeOptions) -> Void = { _ in }, _ body: (Node, Session) async throws -> Void
        ) async throws {
            let node = try await start(configure)
            let session = try await Session.connect(socket: node.socketPath)
            let result = await Result { try await body(node, session) }
            await session.close()
            await node.stop()
            try result.get()
        }

        private func getHalf(on node: Node) async throws {
            let session = try await Session.connect(socket: node.socketPath)
            let ref = try await session.open(ref.shared())
            let done = Mutex(0)
            let get = Task {
                try await session.get(ref, tuning: LeftPartialTests.slowly) { progress in
                    done.withLock { $0 = progress.done.bytes }
                }
            }
            #expect(await eventually(within: .seconds(60)) { done.withLock { $0 } > LeftPartialTests.size / 2 })
            await node.stop()
            _ = await get.result
            await session.close()
        }

        /// What lies in the folder for files that come in part.
        func left() throws -> [String] {
            let folder = state + "/partial"
            guard FileManager.default.fileExists(atPath: folder) else { return [] }
            return try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        }

        func disk(_ session: Session, of node: Node) async throws -> DiskReport {
            let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
            return try #require(report.nodes.first { $0.node.id == node.description.id }?.disk)
        }

        func received(_ session: Session, by node: Node) async throws -> Int {
            let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
            return Int(try #require(report.nodes.first { $0.node.id == node.description.id }).receivedBytes)
        }
    }

    @Test func theNextLifeAsksOnlyForTheRest() async throws {
        try await Scene.with { scene in
            try await scene.again { node, session in
                let before = try await scene.disk(session, of: node)
                #expect(before.partialFileCount == 1)
                #expect(before.partialFileBytes >= UInt64(Self.size / 2) && before.partialFileBytes <= UInt64(Self.size))
                let ref = try await session.open(scene.ref.shared())
                let file = try await session.get(ref, timeout: .seconds(60), tuning: Self.quickly)
                #expect(try read(file.path) == pattern(Self.size))
                #expect(try await scene.received(session, by: node) <= Self.size / 2)
                // The journal goes when the pull has told of its end.
                #expect(await eventually { (try? scene.left()) == [] })
                #expect(try await scene.disk(session, of: node).partialFileCount == 0)
            }
        }
    }

    /// Ids come again: another cluster's first file has the first one's, and here its size too.
    @Test func whatCameInAnotherClusterIsNotBelieved() async throws {
        try await Scene.with { scene in
            let scratch = try Scratch()
            defer { scratch.remove() }
            try await withNodes(1) { other, _, sessions in
                let ref = try await sessions[0].put(RayFile(path: scratch.file("f", size: Self.size, seed: 2)))
                try #require(ref.id == scene.ref.id)
                try await Scene(cluster: other, owner: sessions[0], ref: ref, state: scene.state).again { _, session in
                    #expect(try scene.left() == [])
                    let file = try await session.get(session.open(ref.shared()), timeout: .seconds(60), tuning: Self.quickly)
                    #expect(try read(file.path) == pattern(Self.size, seed: 2))
                }
            }
        }
    }

    /// Who gives up while the rest is on its way leaves it as he found it, and more.
    @Test func aGetThatGivesUpLeavesIt() async throws {
        try await Scene.with { scene in
            try await scene.again { node, session in
                let ref = try await session.open(scene.ref.shared())
                let slow = TransferTuning(codec: .none, chunkSize: .kibibytes(256), window: .mebibytes(1), rateCap: .mebibytes(1))
                #expect(await failure { _ = try await session.get(ref, timeout: .seconds(1), tuning: slow) }?.code == .timedOut)
                #expect(await eventually { (try? await scene.disk(session, of: node).partialFileCount) == 1 })
                #expect(try scene.left().count == 2)
                let file = try await session.get(ref, timeout: .seconds(60), tuning: Self.quickly)
                #expect(try read(file.path) == pattern(Self.size))
                #expect(try await scene.received(session, by: node) <= Self.size / 2 + (1 << 20))
            }
        }
    }

    @Test func aByteThatWasFlippedCostsItsChunk() async throws {
        try await Scene.with { scene in
            let path = try #require(try scene.left().first.map { "\(scene.state)/partial/\($0)" })
            let file = try #require(FileHandle(forUpdatingAtPath: path))
            try file.seek(toOffset: 1_000_000)
            try file.write(contentsOf: Data([~pattern(Self.size)[1_000_000]]))
            try file.close()
            try await scene.again { node, session in
                let ref = try await session.open(scene.ref.shared())
                let file = try await session.get(ref, timeout: .seconds(60), tuning: Self.quickly)
                #expect(try read(file.path) == pattern(Self.size))
                #expect(try await scene.received(session, by: node) <= Self.size / 2 + Self.chunk)
            }
        }
    }

    @Test func whatNobodyAsksForGoesInTime() async throws {
        try await Scene.with { scene in
            try await scene.again {
                $0.partialLifetime = .zero
            } _: { _, _ in
                #expect(await eventually(within: .seconds(60)) { (try? scene.left()) == [] })
            }
        }
    }

    @Test func whatHasEndedGoes() async throws {
        try await Scene.with { scene in
            try await scene.again { _, _ in
                try await scene.owner.free([scene.ref])
                #expect(await eventually(within: .seconds(60)) { (try? scene.left()) == [] })
            }
        }
    }

    /// What a power cut may leave.
    enum Damage: CaseIterable { case journalEmptied, journalsHeaderFlipped, fileCut }

    /// Damaged, and what is no pull's.
    @Test(arguments: Damage.allCases) func whatNoPullCanGoOnWithIsSweptAtTheStart(_ damage: Damage) async throws {
        try await Scene.with { scene in
            let names = try scene.left()
            let folder = scene.state + "/partial"
            let journal = URL(fileURLWithPath: "\(folder)/\(names[1])")
            switch damage {
            case .journalEmptied: try Data(repeating: 0, count: 200).write(to: journal)
            case .journalsHeaderFlipped:
                var bytes = try Data(contentsOf: journal)
                bytes[bytes.startIndex + 17] ^= 1
                try bytes.write(to: journal)
            case .fileCut: #expect(truncate("\(folder)/\(names[0])", Self.size - 1) == 0)
            }
            for name in [
                "stray", "stray.chunks", String(repeating: "0", count: 56), String(repeating: "1", count: 56) + ".chunks",
            ] {
                try Data("RAYCHNKS".utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
            }
            try FileManager.default.createDirectory(atPath: folder + "/a/b", withIntermediateDirectories: true)
            try await scene.again { node, session in
                #expect(try scene.left() == [])
                let ref = try await session.open(scene.ref.shared())
                #expect(try read(try await session.get(ref, timeout: .seconds(60)).path) == pattern(Self.size))
            }
        }
    }

    /// Whoever frees the disk is told of what went, and not of what somebody is at.
    @Test func whatCannotBeRemovedIsNoRoom() async throws {
        try await Scene.with { scene in
            let folder = scene.state + "/partial"
            let journal = open("\(folder)/\(try scene.left()[1])", O_RDWR | O_CLOEXEC)
            #expect(journal >= 0 && flock(journal, LOCK_EX) == 0)
            #expect(try LeftPartials(folder: folder).relieve(of: 1) == 0)
            #expect(try scene.left().count == 2)
            close(journal)
            #expect(try LeftPartials(folder: folder).relieve(of: 1) >= UInt64(Self.size / 2))
            #expect(try scene.left() == [])
        }
    }

    /// A disk that is short: the partial file goes, a copy that somebody may want again stays.
    @Test(.enabled(if: SmallDisk.isPossible, "this user may not mount a small disk"))
    func itIsTheFirstToMakeRoom() async throws {
        let disk = try SmallDisk(bytes: 64 << 20)
        defer { disk.remove() }
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await Scene.with(state: disk.path + "/node") { scene in
            try await scene.again { node, session in
                let copy = try await scene.owner.put(RayFile(path: scratch.file("copy", size: 20 << 20, seed: 2)))
                let large = try await scene.owner.put(RayFile(path: scratch.file("large", size: 38 << 20, seed: 3)))
                let here = try await session.open(copy.shared())
                _ = try await session.get(here, timeout: .seconds(30))
                #expect(await eventually { (try? scene.left().count) == 2 })
                let got = try await session.get(session.open(large.shared()), timeout: .seconds(30))
                #expect(try read(got.path) == pattern(38 << 20, seed: 3))
                #expect(try scene.left() == [])
                #expect(try session.contains(here))
                #expect(try await scene.disk(session, of: node).droppedFileCount == 0)
            }
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
