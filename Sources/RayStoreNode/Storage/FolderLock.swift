// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// The hold of one node on a folder that it spills to: each node sweeps its own, so two with the same name, after a state directory was copied,
/// say, would remove each other's files. The kernel lets go of it when the process ends, however it ends.
final class FolderLock: Sendable {
    static let name = ".lock"

    private let descriptor: Int32

    /// - Returns: nil where the file system has no locks: there the node's name, which is random, is all that tells its folder from others.
    /// - Throws: `inUse` naming the process and the machine that have it.
    static func take(_ folder: String) throws(RayStoreError) -> FolderLock? {
        var descriptor: Int32 = -1
        let status = ray_file_lock(folder + "/" + name, &descriptor)
        if status == .unsupported { return nil }
        try RayStoreError.check { status.rawValue }
        return FolderLock(descriptor)
    }

    private init(_ descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        ray_directory_unlock(descriptor)
    }
}
