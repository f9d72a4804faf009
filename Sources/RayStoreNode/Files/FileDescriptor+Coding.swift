// SPDX-License-Identifier: Apache-2.0
internal import RayStore

extension FileDescriptor {
    /// The metadata of an object that is a file.
    static let metadata: [UInt8] = [UInt8(ascii: "F"), 1]
    private static let magic: UInt32 = 0x4659_4152 // "RAYF"

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        func put<Number: FixedWidthInteger>(_ value: Number) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        put(Self.magic)
        put(UInt32(1))
        put(size)
        put(modifiedNanoseconds)
        put(mode)
        put(UInt32(origin == .reference ? 1 : 0))
        put(UInt32(name.utf8.count))
        put(UInt32(path.utf8.count))
        return bytes + Array(name.utf8) + Array(path.utf8)
    }

    /// Reads what another node has sent; the origin here is always `pulled`.
    init(decoding bytes: [UInt8]) throws(RayStoreError) {
        var payload = RequestPayload(bytes)
        guard try payload.integer(UInt32.self) == Self.magic, try payload.integer(UInt32.self) == 1 else {
            throw RayStoreError(.protocolError, "a file's descriptor is of another version")
        }
        size = try payload.integer()
        modifiedNanoseconds = try payload.integer()
        mode = try payload.integer()
        _ = try payload.integer(UInt32.self)
        let nameLength = Int(try payload.integer(UInt32.self))
        let pathLength = Int(try payload.integer(UInt32.self))
        name = try payload.text(length: nameLength)
        path = try payload.text(length: pathLength)
        origin = .pulled
        // The name becomes part of a path on this disk.
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(UInt8(ascii: "/")), !name.utf8.contains(0), name.utf8.count <= 255 else {
            throw RayStoreError(.protocolError, "a peer sent a file named '\(name)', which is not a file's name")
        }
    }
}
