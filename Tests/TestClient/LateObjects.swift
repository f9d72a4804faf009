// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Glibc
import RayStore

/// Objects whose refs others have before they are sealed: made through the C interface, because a Swift session gives a ref only to what is
/// complete. The bytes of number N are N, over and over.
struct LateObjects {
    private let client: OpaquePointer
    private var store: OpaquePointer { ray_client_store(client)! }

    init(_ socket: String) throws {
        var made: OpaquePointer?
        let status = socket.withCString { path in
            var options = ray_client_options(
                struct_size: UInt32(MemoryLayout<ray_client_options>.size), job: 0, socket_path: path, name_space: nil,
                timeout_ns: 0, access: UInt32(RAY_ACCESS_FULL))
            return ray_client_connect(&options, &made)
        }
        try Self.check(status)
        client = made!
    }

    func run(count: Int, size: Int) throws {
        var writers: [ray_object_writer] = []
        for number in 0..<count {
            let (id, writer) = try make(number, size: size)
            writers.append(writer)
            TestClient.say(ObjectID(bytes: withUnsafeBytes(of: id) { Array($0) })!)
        }
        TestClient.say("ready")
        while let line = readLine() {
            guard let number = Int(line), writers.indices.contains(number) else { exit(64) }
            try Self.check(ray_object_seal(store, &writers[number]))
            TestClient.say("sealed")
        }
        ray_client_close(client)
    }

    private func make(_ number: Int, size: Int) throws -> (ray_object_id, ray_object_writer) {
        let metadata = ValueMetadata.bytes.encoded
        var id = ray_object_id()
        var writer = ray_object_writer()
        try Self.check(ray_client_next_id(client, &id))
        try Self.check(
            ray_object_create(store, &id, UInt64(size), UInt32(metadata.count), UInt32(RAY_CREATE_WITH_REF), &writer))
        UnsafeMutableRawBufferPointer(start: writer.metadata, count: metadata.count).copyBytes(from: metadata)
        UnsafeMutableRawBufferPointer(start: writer.data, count: size).initializeMemory(as: UInt8.self, repeating: UInt8(number))
        try Self.check(ray_client_share_ref(client, &id))
        return (id, writer)
    }

    private static func check(_ status: ray_status) throws {
        guard status == .ok else {
            throw RayStoreError(.init(rawValue: status.rawValue), String(cString: ray_last_error_message()))
        }
    }
}
