// SPDX-License-Identifier: Apache-2.0
internal import FoundationEssentials
internal import Logging
internal import RayStore
internal import Synchronization

/// The external storage of one node, validated, and destroyed at most once.
final class NodeStorage: Sendable {
    let storage: any ExternalStorage
    let place: StoragePlace
    private let log: Logger
    private let isDestroyed = Atomic(false)

    var typeName: String { storage.typeName }
    var canSpill: Bool { storage.canSpill }

    init(_ storage: any ExternalStorage, log: Logger) async throws(RayStoreError) {
        try await storage.validate()
        self.storage = storage
        place = StoragePlace(storage)
        self.log = log
    }

    /// The list of what was spilled, nil when nothing can be; and what it says of storages that are not configured any more.
    ///
    /// - Parameter forgets: those storages are forgotten first.
    func manifest(
        in directory: String, forgettingOthers forgets: Bool
    ) async throws(RayStoreError) -> (manifest: SpillManifest?, left: [LeftStorage]) {
        let (path, place, typeName, canSpill) = (directory + "/spill.sqlite", place, typeName, canSpill)
        return try await runBlocking { () throws(RayStoreError) in
            guard canSpill || FileManager.default.fileExists(atPath: path) else { return (nil, []) }
            let manifest = try SpillManifest(path: path)
            do throws(RayStoreError) {
                try manifest.adopt(typeName, by: place)
                if forgets { try manifest.forget(besides: place) }
                let left = try manifest.left(besides: place)
                if canSpill {
                    try manifest.note(place)
                    return (manifest, left)
                }
                manifest.close()
                return (nil, left)
            } catch {
                manifest.close()
                throw error
            }
        }
    }

    /// What a failed start and a stop both call. A storage that cannot be destroyed must not keep the node from ending.
    ///
    /// - Returns: nothing is left in it.
    @discardableResult
    func destroy() async -> Bool {
        guard !isDestroyed.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        do throws(RayStoreError) {
            try await storage.destroy()
            return true
        } catch {
            log.debug(
                "what was spilled is not removed", metadata: ["storage": "\(storage.typeName)", "reason": "\(error.message)"])
            return false
        }
    }

    /// The head's last call: what nodes that are gone have left.
    func destroyShared() async {
        do throws(RayStoreError) {
            try await storage.destroyShared()
        } catch {
            log.debug(
                "what other nodes have spilled is not removed",
                metadata: ["storage": "\(storage.typeName)", "reason": "\(error.message)"])
        }
    }

    /// The failure as a caller should read it: one of a full store says whether something could have been done about it.
    func explain(_ error: RayStoreError) -> RayStoreError {
        guard error.code == .storeFull, !canSpill else { return error }
        return RayStoreError(
            error.code, error.message + "; spilling is off", systemErrno: error.systemErrno, object: error.object)
    }
}
