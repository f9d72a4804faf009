// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// A storage that fails now and then, to test what rests on it: 1 spill in 10 fails, and in 2 of 10 only a first part of the records is
/// written.
public struct UnstableStorage: ExternalStorage {
    private let storage: any ExternalStorage
    /// A number from 0 to 9.
    private let draw: @Sendable () -> Int

    public init(_ storage: any ExternalStorage, draw: @escaping @Sendable () -> Int = { Int.random(in: 0..<10) }) {
        self.storage = storage
        self.draw = draw
    }

    public var typeName: String { "unstable_fs" }
    public var service: String { storage.service }
    public var folders: [String] { storage.folders }
    public var canSpill: Bool { storage.canSpill }
    public var packsByDefault: Bool { storage.packsByDefault }
    public var takesBytesByRange: Bool { storage.takesBytesByRange }

    public func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
        switch draw() {
        case 0:
            throw RayStoreError(.system, "unstable_fs: this spill fails, as one in ten does")
        case 1 where batch.recordCount > 1, 2 where batch.recordCount > 1:
            return try await storage.spill(batch.first(Int.random(in: 1..<batch.recordCount)))
        default:
            return try await storage.spill(batch)
        }
    }

    public func validate() async throws(RayStoreError) { try await storage.validate() }

    public func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        try await storage.restore(file, from: offset, into: memory)
    }

    public func localPath(of file: String) -> String? { storage.localPath(of: file) }

    public func delete(_ file: String) async throws(RayStoreError) { try await storage.delete(file) }

    public func files() async throws(RayStoreError) -> [String] { try await storage.files() }

    public func removeUnfinished() async throws(RayStoreError) { try await storage.removeUnfinished() }

    public func destroyShared() async throws(RayStoreError) { try await storage.destroyShared() }

    public func destroy() async throws(RayStoreError) { try await storage.destroy() }
}
