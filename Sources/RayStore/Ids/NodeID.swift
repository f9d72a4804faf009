// SPDX-License-Identifier: Apache-2.0

/// A node of the cluster: 28 random bytes, made when the node starts and never used again.
public struct NodeID: Hashable, Sendable, Codable, CustomStringConvertible {
    /// 56 hex digits.
    public let description: String

    /// Reads 56 hex digits; nil for anything else.
    public init?(_ text: String) {
        guard text.utf8.count == 56, text.allSatisfy(\.isHexDigit) else { return nil }
        description = text.lowercased()
    }

    /// A new node's id.
    public static func random() -> NodeID {
        let digits = Array("0123456789abcdef")
        return NodeID(String((0..<56).map { _ in digits[Int.random(in: 0..<16)] }))!
    }

    /// The 28 bytes that the digits stand for.
    public var bytes: [UInt8] {
        let digits = description.utf8.map { UInt8(Character(UnicodeScalar($0)).hexDigitValue!) }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    /// The first digits, enough to tell the nodes of a cluster apart.
    public var short: String { String(description.prefix(8)) }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let id = NodeID(text) else {
            throw RayStoreError(.invalidArgument, "'\(text)' is not a node id: 56 hex digits are")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
