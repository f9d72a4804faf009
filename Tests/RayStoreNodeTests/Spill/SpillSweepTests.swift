// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// A storage that does only part of what a starting node asks for: the other part is done all the same.
@Suite struct SpillSweepTests {
    /// As one that was being written when the node was killed.
    @Test func aFileThatNobodyKnowsGoesThoughUnfinishedWritesCannotBeRemoved() async throws {
        try await withLeftFile { folder, path in
            let storage = PartialStorage(FilesystemStorage(directories: [folder], owner: "node"), refuses: .removeUnfinished)
            try await withNode(storage) { #expect(await eventually { !FileManager.default.fileExists(atPath: path) }) }
            #expect(storage.removals == 1)
        }
    }

    @Test func unfinishedWritesAreRemovedThoughFilesCannotBeListed() async throws {
        try await withLeftFile { folder, path in
            let storage = PartialStorage(FilesystemStorage(directories: [folder], owner: "node"), refuses: .files)
            try await withNode(storage) {
                #expect(await eventually { storage.removals == 1 })
                #expect(FileManager.default.fileExists(atPath: path))
            }
        }
    }

    private func withLeftFile(_ body: (_ folder: String, _ path: String) async throws -> Void) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let own = scratch.path + "/ray_spilled_objects/node"
        try FileManager.default.createDirectory(
            atPath: own, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let path = own + "/" + String(repeating: "a", count: 56) + "-multi-1"
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path))
        try await body(scratch.path, path)
    }

    private func withNode(_ storage: any ExternalStorage, _ body: () async throws -> Void) async throws {
        let cluster = try await LocalCluster()
        do {
            _ = try await cluster.addNode(storage: storage)
            try await body()
        } catch {
            await cluster.stop()
            throw error
        }
        await cluster.stop()
    }
}

private final class PartialStorage: ExternalStorage {
    enum Request { case files, removeUnfinished }

    private let storage: FilesystemStorage
    private let refused: Request
    private let removalCount = Atomic(0)

    init(_ storage: FilesystemStorage, refuses refused: Request) {
        self.storage = storage
        self.refused = refused
    }

    /// How often it was asked to remove what is unfinished.
    var removals: Int { removalCount.load(ordering: .sequentiallyConsistent) }

    var typeName: String { storage.typeName }
    var folders: [String] { storage.folders }
    var canSpill: Bool { true }

    func validate() async throws(RayStoreError) { try await storage.validate() }

    func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile { try await storage.spill(batch) }

    func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        try await storage.restore(file, from: offset, into: memory)
    }

    func delete(_ file: String) async throws(RayStoreError) { try await storage.delete(file) }

    func files() async throws(RayStoreError) -> [String] {
        if refused == .files { throw RayStoreError(.keyRefused, "the test lets no list through") }
        return try await storage.files()
    }

    func removeUnfinished() async throws(RayStoreError) {
        removalCount.add(1, ordering: .sequentiallyConsistent)
        if refused == .removeUnfinished { throw RayStoreError(.keyRefused, "the test lets nothing unfinished be removed") }
    }

    func destroy() async throws(RayStoreError) { try await storage.destroy() }
}
