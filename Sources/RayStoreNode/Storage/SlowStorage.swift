// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// A storage that takes 1 to 2 s for each spill, to test what rests on it.
public struct SlowStorage: ExternalStorage {
    private let storage: any ExternalStorage

    public init(_ storage: any ExternalStorage) {
        self.storage = storage
    }

    public var typeName: String { "slow_fs" }
    public var service: String { storage.service }
    public var folders: [String] { storage.folders }
    public var canSpill: Bool { storage.canSpill }
    public var packsByDefault: Bool { storage.packsByDefault }
    public var takesBytesByRange: Bool { storage.takesBytesByRange }

    public func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
        do {
            try await Task.sleep(for: .milliseconds(Int.random(in: 1000...2000)))
        } catch {
            throw RayStoreError(.cancelled, "the spill was cancelled")
        }
        return try await storage.spill(batch)
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
