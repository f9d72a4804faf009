// SPDX-License-Identifier: Apache-2.0

/// What the metadata of an object says of its value. docs/VALUES.md has the layout, byte by byte.
package enum ValueMetadata: Equatable, Sendable {
    /// The second byte of all metadata.
    static let version: UInt8 = 1

    /// Kind, version, code, errno, object and the length of the message: no error is told in less.
    static let errorByteCountMin = 40

    /// What `bytes` is coded as; made once.
    static let encodedBytes = bytes.encoded

    case bytes
    case array(element: String, stride: Int, shape: [Int])
    /// The type is what the writer's language calls it, for messages only.
    case json(type: String)
    case file
    case error(RayStoreError)

    package init(_ bytes: [UInt8]) throws(RayStoreError) {
        let outcome = bytes.withUnsafeBytes { raw -> Result<ValueMetadata, RayStoreError> in
            Result { () throws(RayStoreError) in try ValueMetadata(unsafe: raw) }
        }
        self = try outcome.get()
    }

    /// Reads metadata. None at all means bytes: what a program in C puts without saying more.
    ///
    /// - Throws: `unsupported` for a kind or version that this library does not know, `corrupt` for metadata that is cut short.
    init(unsafe metadata: UnsafeRawBufferPointer) throws(RayStoreError) {
        guard let first = metadata.first else {
            self = .bytes
            return
        }
        let kind = ObjectKind(rawValue: first)
        if kind == .bytes {
            self = .bytes
            return
        }
        let version = metadata.count > 1 ? metadata[1] : 0
        guard version == Self.version else {
            throw RayStoreError(
                .unsupported,
                "the object is \(kind) in version \(version) of the format; this library reads \(Self.version): update it")
        }
        switch kind {
        case .array:
            guard let header = ArrayHeader(unsafe: metadata) else { throw Self.cutShort(kind) }
            self = .array(element: header.name, stride: header.stride, shape: header.shape)
        case .json:
            var reader = PayloadReader(metadata.dropFirst(2))
            guard let length = reader.integer(UInt16.self), let type = reader.text(Int(length)) else {
                throw Self.cutShort(kind)
            }
            self = .json(type: type)
        case .file:
            self = .file
        case .error:
            guard let error = Self.readError(metadata.dropFirst(2)) else { throw Self.cutShort(kind) }
            self = .error(error)
        default:
            throw RayStoreError(.unsupported, "the object is \(kind): update this library")
        }
    }

    private static func cutShort(_ kind: ObjectKind) -> RayStoreError {
        RayStoreError(.corrupt, "the object's metadata says that it is \(kind), but is cut short")
    }

    package var kind: ObjectKind {
        switch self {
        case .bytes: .bytes
        case .array: .array
        case .json: .json
        case .file: .file
        case .error: .error
        }
    }

    /// For messages: "JSON of Point", "an array of float32".
    package var text: String {
        switch self {
        case .array(let element, _, let shape):
            "an array of \(element)" + (shape.count > 1 ? " of shape \(shape)" : "")
        case .json(let type): "JSON of \(type)"
        default: kind.description
        }
    }

    // ---- writing ----

    package var encoded: [UInt8] {
        var writer = PayloadWriter()
        writer.append(kind.rawValue)
        writer.append(Self.version)
        switch self {
        case .bytes, .file:
            break
        case .array(let element, let stride, let shape):
            return ArrayHeader.encode(ElementType(category: Self.category(element), name: element, stride: stride), shape: shape)
        case .json(let type):
            let name = Array(type.utf8.prefix(1024))
            writer.append(UInt16(name.count))
            writer.append(raw: name)
        case .error(let error):
            Self.write(error, to: &writer)
        }
        return writer.bytes
    }

    private static func category(_ element: String) -> UInt8 {
        switch element {
        case "bool": UInt8(ascii: "b")
        case "float16", "float32", "float64": UInt8(ascii: "f")
        case "int8", "int16", "int32", "int64": UInt8(ascii: "i")
        case "uint8", "uint16", "uint32", "uint64": UInt8(ascii: "u")
        default: UInt8(ascii: "o")
        }
    }

    private static func write(_ error: RayStoreError, to writer: inout PayloadWriter) {
        let message = Array(error.message.utf8.prefix(4096))
        writer.append(error.code.rawValue)
        writer.append(error.systemErrno ?? 0)
        writer.append(raw: error.object?.bytes ?? Array(repeating: 0, count: 28))
        writer.append(UInt16(message.count))
        writer.append(raw: message)
    }

    private static func readError(_ bytes: Slice<UnsafeRawBufferPointer>) -> RayStoreError? {
        var reader = PayloadReader(bytes)
        guard let code = reader.integer(Int32.self), let number = reader.integer(Int32.self), let object = reader.raw(28),
            let length = reader.integer(UInt16.self), let message = reader.raw(Int(length))
        else { return nil }
        return RayStoreError(
            RayStoreError.Code(rawValue: code), String(decoding: message, as: UTF8.self),
            systemErrno: number == 0 ? nil : number,
            object: object.allSatisfy { $0 == 0 } ? nil : ObjectID(bytes: object))
    }
}
