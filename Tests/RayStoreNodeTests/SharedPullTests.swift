// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// Many who wait for one object: one pull, seen alike by all; who gives up disturbs nobody, and the last one who does ends it.
@Suite(.serialized) struct SharedPullTests {
    private static let size = 32 << 20

    /// What a get has seen of its transfer.
    private final class Seen: Sendable {
        private let all = Mutex<[TransferProgress]>([])
        func note(_ progress: TransferProgress) { all.withLock { $0.append(progress) } }
        var steps: [TransferProgress] { all.withLock { $0 } }
        var done: Int { steps.last?.done.bytes ?? 0 }
    }

    /// An owner whose bulk port is reached through a proxy, which counts what passes and can be cut for a while; and several sessions of one
    /// other node.
    private struct Scene {
        let cluster: LocalCluster
        let node: Node
        let readers: [Session]
        let writer: Session
        let proxy: FlippingProxy

        static func with(cutAt: Int?, _ body: (Scene) async throws -> Void) async throws {
            try await withNodes(1, configure: { _ in }) { cluster, nodes, sessions in
                let control = ProxiedControl(cluster.control) { try FlippingProxy(to: $0, cutAt: cutAt) }
                let owner = try await cluster.addNode(control: control)
                let writer = try await Session.connect(socket: owner.socketPath)
                let proxy = try #require(control.proxies.first)
                defer { proxy.stop() }
                var readers = sessions
                for _ in 0..<2 { readers.append(try await Session.connect(socket: nodes[0].socketPath)) }
                try await body(Scene(cluster: cluster, node: nodes[0], readers: readers, writer: writer, proxy: proxy))
                for reader in readers[1...] { await reader.close() }
                await writer.close()
            }
        }
    }

    /// Three clients, three waiters each, of an object and of a file.
    @Test(arguments: [false, true]) func manyWaitersShareOnePull(isFile: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await Scene.with(cutAt: Self.size / 2) { scene in
            let text = try await put(isFile, scene, scratch)
            let all = (0..<9).map { _ in Seen() }
            let refs = try await open(text, scene)
            let gets = begin(refs, isFile, scene, all)
            // The link is cut in the middle, so all are waiting when it is mended.
            #expect(await eventually(within: .seconds(60)) { scene.proxy.refusedCount > 0 && all.allSatisfy { $0.done > 0 } })
            scene.proxy.mend()
            for get in gets { #expect(try await get.value) }
            #expect(scene.proxy.passedCount < Self.size * 7 / 4, "nine pulls would be nine times it")
            // Each sees steps of the same pull, in their order, to its end.
            let longest = try #require(all.map(\.steps).max { $0.count < $1.count })
            for seen in all {
                #expect(seen.done == Self.size)
                #expect(seen.steps.allSatisfy { longest.contains($0) })
                #expect(zip(seen.steps, seen.steps.dropFirst()).allSatisfy { $0.done <= $1.done })
            }
        }
    }

    @Test(arguments: [false, true]) func oneThatGivesUpDisturbsNobody(isFile: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await Scene.with(cutAt: Self.size / 2) { scene in
            let text = try await put(isFile, scene, scratch)
            let refs = try await open(text, scene)
            let all = (0..<6).map { _ in Seen() }
            let gets = begin(refs, isFile, scene, all)
            #expect(await eventually(within: .seconds(60)) { all.allSatisfy { $0.done > 0 } })
            // The first, who has started it, one in the middle, and a whole client.
            gets[0].cancel()
            gets[4].cancel()
            await scene.readers[2].close()
            for index in [0, 2, 4, 5] {
                let error = await failure { _ = try await gets[index].value }
                #expect(error?.code == (index % 3 == 2 ? .closed : .cancelled))
            }
            scene.proxy.mend()
            for index in [1, 3] { #expect(try await gets[index].value) }
            #expect(scene.proxy.passedCount < Self.size * 7 / 4)
        }
    }

    /// What is left of a file goes with the last one; so does the memory of an object. A get after that starts anew.
    @Test(arguments: [false, true]) func theLastOneThatGivesUpEndsThePull(isFile: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await Scene.with(cutAt: Self.size / 2) { scene in
            let text = try await put(isFile, scene, scratch)
            let refs = try await open(text, scene)
            let all = (0..<6).map { _ in Seen() }
            let gets = begin(refs, isFile, scene, all)
            #expect(await eventually(within: .seconds(60)) { all.allSatisfy { $0.done > 0 } })
            for get in gets { get.cancel() }
            for get in gets { #expect(await failure { _ = try await get.value }?.code == .cancelled) }
            let partial = scene.cluster.stateDirectory(of: scene.node) + "/partial"
            #expect(
                try await eventually {
                    let used = try await scene.readers[0].memory().first { $0.node == scene.node.description.id }?.used
                    return try used == .zero && FileManager.default.contentsOfDirectory(atPath: partial).isEmpty
                })
            scene.proxy.mend()
            #expect(try await fetch(refs[1], isFile, scene.readers[1]) { _ in })
        }
    }

    private func put(_ isFile: Bool, _ scene: Scene, _ scratch: Scratch) async throws -> String {
        if isFile {
            let ref = try await scene.writer.put(RayFile(path: scratch.file("f", size: Self.size)))
            try await scene.writer.detach(ref)
            return ref.id.description
        }
        let ref = try scene.writer.put(bytes: pattern(Self.size))
        try await scene.writer.detach(ref)
        return ref.id.description
    }

    private func open(_ text: String, _ scene: Scene) async throws -> [ObjectRef<RayFile>] {
        var refs: [ObjectRef<RayFile>] = []
        for reader in scene.readers { refs.append(try await reader.open(text)) }
        return refs
    }

    /// A get for each of those that watch, by the readers in turn.
    private func begin(_ refs: [ObjectRef<RayFile>], _ isFile: Bool, _ scene: Scene, _ all: [Seen]) -> [Task<Bool, any Error>] {
        all.indices.map { index in
            Task { try await fetch(refs[index % 3], isFile, scene.readers[index % 3]) { all[index].note($0) } }
        }
    }

    /// Whether what came is what was put.
    private func fetch(
        _ ref: ObjectRef<RayFile>, _ isFile: Bool, _ session: Session, _ note: @escaping @Sendable (TransferProgress) -> Void
    ) async throws -> Bool {
        let expected = pattern(Self.size)
        if isFile { return try await read(session.get(ref, progress: note).path) == expected }
        let object = try await session.pin(ref, progress: note)
        return object.withUnsafeBytes { bytes in
            expected.withUnsafeBytes { bytes.count == $0.count && memcmp(bytes.baseAddress!, $0.baseAddress!, $0.count) == 0 }
        }
    }
}
