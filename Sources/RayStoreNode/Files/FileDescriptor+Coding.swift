// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

extension FileDescriptor {
    /// The metadata of an object that is a file: the kind, and version 1 of its form (docs/VALUES.md).
    static let metadata: [UInt8] = [UInt8(RAY_VALUE_FILE), 1]

    /// The object's data, in the form that every language reads (`client.h`).
    func encoded() throws(RayStoreError) -> [UInt8] {
        var name = name
        var path = path
        // RAY_FILE_DESCRIPTOR_MAX, an expression that the importer does not take over.
        var bytes = [UInt8](repeating: 0, count: 40 + Int(RAY_FILE_NAME_MAX) + Int(RAY_FILE_PATH_MAX))
        var size = 0
        let status = name.withUTF8 { name in
            path.withUTF8 { path in
                name.withMemoryRebound(to: CChar.self) { name in
                    path.withMemoryRebound(to: CChar.self) { path in
                        var descriptor = ray_file_descriptor()
                        descriptor.size_bytes = self.size
                        descriptor.mtime_ns = modifiedNanoseconds
                        descriptor.mode = mode
                        descriptor.flags = origin.mode
                        descriptor.name = name.baseAddress
                        descriptor.name_length = UInt32(name.count)
                        descriptor.path = path.baseAddress
                        descriptor.path_length = UInt32(path.count)
                        return ray_file_descriptor_encode(&descriptor, &bytes, bytes.count, &size)
                    }
                }
            }
        }
        guard status == .ok else { throw RayStoreError(status: status.rawValue) }
        return Array(bytes.prefix(size))
    }

    /// Reads what another node has sent. The file it describes is to be placed here, so its origin is `pulled`.
    init(decoding bytes: [UInt8]) throws(RayStoreError) {
        var descriptor = ray_file_descriptor()
        var name = ""
        var path = ""
        guard !bytes.isEmpty else { throw RayStoreError(.corrupt, "a file came without a descriptor") }
        let status = bytes.withUnsafeBytes { raw in
            let status = ray_file_descriptor_decode(raw.baseAddress!, raw.count, &descriptor)
            if status == .ok {
                name = Self.text(descriptor.name, descriptor.name_length)
                path = Self.text(descriptor.path, descriptor.path_length)
            }
            return status
        }
        guard status == .ok else { throw RayStoreError(status: status.rawValue) }
        self.init(
            ray_file_info(size_bytes: descriptor.size_bytes, mtime_ns: descriptor.mtime_ns, mode: descriptor.mode), name: name,
            path: path, origin: .pulled)
    }

    private static func text(_ start: UnsafePointer<CChar>?, _ length: UInt32) -> String {
        String(decoding: UnsafeRawBufferPointer(start: start, count: Int(length)), as: UTF8.self)
    }
}
