// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// What a file object's data in the store says: ray_file_descriptor of client.h.
struct FileDescriptor {
    let name: String
    let path: String
    let size: UInt64
    let modifiedNanoseconds: Int64
    let isCopy: Bool

    /// - Throws: `corrupt`, `versionMismatch`.
    init(unsafe bytes: UnsafeRawBufferPointer, of id: ObjectID) throws(RayStoreError) {
        var descriptor = ray_file_descriptor()
        var empty: UInt8 = 0
        let status = withUnsafePointer(to: &empty) {
            ray_file_descriptor_decode(bytes.baseAddress ?? UnsafeRawPointer($0), bytes.count, &descriptor)
        }
        guard status == .ok else { throw RayStoreError(status: status.rawValue, object: id) }
        name = Self.text(descriptor.name, descriptor.name_length)
        path = Self.text(descriptor.path, descriptor.path_length)
        size = descriptor.size_bytes
        modifiedNanoseconds = descriptor.mtime_ns
        // The node says in the low byte how it came by the file, with the values of RAY_FILE_*.
        isCopy = descriptor.flags & 0xff != UInt32(RAY_FILE_REFERENCE)
    }

    private static func text(_ start: UnsafePointer<CChar>?, _ length: UInt32) -> String {
        String(decoding: UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(length)), as: UTF8.self)
    }
}
