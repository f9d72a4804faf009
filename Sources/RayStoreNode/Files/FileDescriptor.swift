// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// What an object that is a file says of it: the object's data in the store. The file itself is beside it, on disk.
struct FileDescriptor: Sendable {
    var name: String
    /// Where the file lies on this node.
    var path: String
    var size: UInt64
    var modifiedNanoseconds: Int64
    var mode: UInt32
    var origin: FileStore.Origin
    /// Of a copy made here: what the file that it was made of was recognised by. Not sent.
    var sourceIdentity: UInt64?

    init(_ info: ray_file_info, name: String, path: String, origin: FileStore.Origin) {
        self.name = name
        self.path = path
        size = info.size_bytes
        modifiedNanoseconds = info.mtime_ns
        mode = info.mode
        self.origin = origin
    }

    var info: ray_file_info {
        ray_file_info(size_bytes: size, mtime_ns: modifiedNanoseconds, mode: mode)
    }
}

extension FileDescriptor {
    func checkUnchanged() throws(RayStoreError) {
        try RayStoreError.check { ray_file_unchanged(path, size, modifiedNanoseconds).rawValue }
    }
}

/// The version of the library, for descriptions of nodes.
package let libraryVersion = String(cString: ray_version())
