// SPDX-License-Identifier: Apache-2.0

/// What an object's value is: the first byte of its metadata. An open set: a later library may store kinds that this one does not know.
public struct ObjectKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Bytes without further meaning.
    public static let bytes = Self(rawValue: UInt8(ascii: "B"))
    /// An array of fixed-size elements.
    public static let array = Self(rawValue: UInt8(ascii: "A"))
    /// A value coded as JSON.
    public static let json = Self(rawValue: UInt8(ascii: "J"))
    /// A file: the object says where it lies on this node.
    public static let file = Self(rawValue: UInt8(ascii: "F"))
    /// A failure, thrown by whoever gets it.
    public static let error = Self(rawValue: UInt8(ascii: "E"))
}

extension ObjectKind: CustomStringConvertible {
    public var description: String {
        switch self {
        case .bytes: "bytes"
        case .array: "an array"
        case .json: "JSON"
        case .file: "a file"
        case .error: "an error"
        default: "of the unknown kind \(rawValue)"
        }
    }
}
