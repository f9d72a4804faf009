// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// The hold of one node on its state directory; the kernel lets go of it when the process ends, however it ends.
final class StateLock: Sendable {
    private let descriptor: Mutex<Int32>

    /// Makes the directory if it is missing.
    ///
    /// - Throws: `inUse` naming the process that has it; `invalidArgument` when others could write there.
    init(_ directory: String) throws(RayStoreError) {
        try RayStoreError.check { ray_directory_make_private(directory).rawValue }
        var lock: Int32 = -1
        try RayStoreError.check { ray_directory_lock(directory, &lock).rawValue }
        descriptor = Mutex(lock)
    }

    deinit {
        unlock()
    }

    func unlock() {
        descriptor.withLock { descriptor in
            ray_directory_unlock(descriptor)
            descriptor = -1
        }
    }
}
