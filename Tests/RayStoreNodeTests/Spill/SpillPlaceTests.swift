// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// A node that was killed is started again with another storage: what lies in the old one is neither forgotten nor asked of the new one.
@Suite struct SpillPlaceTests {
    /// What the next life has instead.
    enum Next: CaseIterable { case directory, nothing }

    @Test(arguments: Next.allCases)
    func anotherStorageLeavesAndReportsWhatTheOldOneHas(_ next: Next) async throws {
        try await withKilledNode { state, old, fileCount in
            let other = old + "-other"
            func storage() -> any ExternalStorage {
                next == .nothing ? NoExternalStorage() : FilesystemStorage(directories: [other], owner: "node")
            }
            try await withLife(state, storage()) { node, session in
                let left = try #require(node.leftStorages.first)
                #expect(node.leftStorages.count == 1)
                #expect(left.service == "filesystem" && left.folder == old + "/ray_spilled_objects/node/")
                #expect(left.fileCount == fileCount && left.bytes > UInt64(4 << 20))
                let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
                #expect(report.nodes.first?.leftStorages == [left])
                if next == .directory {
                    // Written when the sweep is over.
                    let ref = try session.put(bytes: pattern(1 << 20))
                    #expect(await node.freeMemory(16 << 20) > 0)
                    _ = ref
                    #expect(spillFiles(other).count == 1)
                }
            }
            #expect(spillFiles(old).count == fileCount)
            // The old one again: all that was left goes, and nothing is left of the other, which ended in good order.
            try await withLife(state, FilesystemStorage(directories: [old], owner: "node")) { node, _ in
                #expect(node.leftStorages.isEmpty)
                #expect(await eventually { spillFiles(old).isEmpty })
            }
            try await withLife(state, storage()) { node, _ in #expect(node.leftStorages.isEmpty) }
        }
    }

    @Test func whatIsForgottenStaysAndIsNotReportedAgain() async throws {
        try await withKilledNode { state, old, fileCount in
            try await withLife(state, NoExternalStorage(), { $0.forgetsOtherStorages = true }) { node, _ in
                #expect(node.leftStorages.isEmpty)
            }
            try await withLife(state, NoExternalStorage()) { node, _ in #expect(node.leftStorages.isEmpty) }
            #expect(spillFiles(old).count == fileCount)
        }
    }

    /// One of two directories is given up: what is in the other goes, what is in that one stays.
    @Test func aDirectoryThatIsGivenUpIsReportedByItself() async throws {
        let more = temporaryFolder() + "/raystore-more-\(UInt32.random(in: 0...UInt32.max))"
        defer { try? FileManager.default.removeItem(atPath: more) }
        try await withKilledNode(beside: more) { state, old, _ in
            let kept = spillFiles(more).count
            #expect(kept > 0 && !spillFiles(old).isEmpty)
            try await withLife(state, FilesystemStorage(directories: [old], owner: "node")) { node, _ in
                #expect(node.leftStorages.map(\.folder) == [more + "/ray_spilled_objects/node/"])
                #expect(node.leftStorages.first?.fileCount == kept)
                #expect(await eventually { spillFiles(old).isEmpty })
            }
            #expect(spillFiles(more).count == kept)
        }
    }

    @Test func whatIsKnownGoesThoughTheStorageCannotBeListed() async throws {
        try await withKilledNode { state, old, _ in
            let storage = UnlistedStorage(storage: FilesystemStorage(directories: [old], owner: "node"))
            try await withLife(state, storage) { _, _ in #expect(await eventually { spillFiles(old).isEmpty }) }
        }
    }

    /// Files of a node, and its list of them, as a kill leaves them.
    private func withKilledNode(
        beside more: String? = nil, _ body: (_ state: String, _ spill: String, _ fileCount: Int) async throws -> Void
    ) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let (state, spill, kept) = (scratch.path + "/state", scratch.path + "/spill", scratch.path + "/kept")
        try FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
        let folders = [spill] + (more.map { [$0] } ?? [])
        try await withLife(state, FilesystemStorage(directories: folders, owner: "node")) { node, session in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<12 { refs.append(try session.put(bytes: pattern(1 << 20, seed: UInt64(number)))) }
            while await node.freeMemory(4 << 20) > 0 {}
            #expect(refs.count == 12)
            for name in ["spill.sqlite", "spill.sqlite-wal", "spill.sqlite-shm"] {
                try FileManager.default.copyItem(atPath: state + "/" + name, toPath: kept + "/" + name)
            }
            for (number, folder) in folders.enumerated() {
                try FileManager.default.copyItem(atPath: folder, toPath: kept + "/\(number)")
            }
        }
        for name in ["spill.sqlite", "spill.sqlite-wal", "spill.sqlite-shm"] {
            try? FileManager.default.removeItem(atPath: state + "/" + name)
            try FileManager.default.moveItem(atPath: kept + "/" + name, toPath: state + "/" + name)
        }
        for (number, folder) in folders.enumerated() {
            try? FileManager.default.removeItem(atPath: folder)
            try FileManager.default.moveItem(atPath: kept + "/\(number)", toPath: folder)
        }
        #expect(spillFiles(spill).count > 0)
        try await body(state, spill, spillFiles(spill).count)
    }

    private func withLife(
        _ state: String, _ storage: any ExternalStorage, _ configure: (inout NodeOptions) -> Void = { _ in },
        _ body: (Node, Session) async throws -> Void
    ) async throws {
        try await withNodeLife(
            state, capacity: 16 << 20, storage,
            {
                $0.spill.fileBytes = 4 << 20
                configure(&$0)
            }, body)
    }
}

private struct UnlistedStorage: ExternalStorage {
    let storage: FilesystemStorage

    var typeName: String { storage.typeName }
    var folders: [String] { storage.folders }
    var canSpill: Bool { true }

    func validate() async throws(RayStoreError) { try await storage.validate() }

    func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile { try await storage.spill(batch) }

    func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        try await storage.restore(file, from: offset, into: memory)
    }

    func delete(_ file: String) async throws(RayStoreError) { try await storage.delete(file) }

    func files() async throws(RayStoreError) -> [String] { throw RayStoreError(.unreachable, "the test lets no list through") }

    func destroy() async throws(RayStoreError) { try await storage.destroy() }
}
