// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// The `params` of a storage's configuration; every failure names the parameter.
struct StorageParameters: Sendable {
    let values: [String: JSONValue]

    func refuseOthers(than known: [String]) throws(RayStoreError) {
        if let other = values.keys.sorted().first(where: { !known.contains($0) }) {
            throw RayStoreError(
                .invalidArgument, "\(other): is not a parameter of this storage; it has \(known.joined(separator: ", "))")
        }
    }

    func text(_ name: String) throws(RayStoreError) -> String? {
        switch values[name] {
        case nil: return nil
        case .text(let text)? where !text.isEmpty: return text
        default: throw RayStoreError(.invalidArgument, "\(name): is not a text, or an empty one")
        }
    }

    /// One text, or a list of at least one.
    func texts(_ name: String) throws(RayStoreError) -> [String]? {
        guard case .list(let items)? = values[name] else {
            return try text(name).map { [$0] }
        }
        var texts: [String] = []
        for item in items {
            guard case .text(let text) = item, !text.isEmpty else {
                throw RayStoreError(.invalidArgument, "\(name): the list holds what is not a text, or an empty one")
            }
            texts.append(text)
        }
        guard !texts.isEmpty else { throw RayStoreError(.invalidArgument, "\(name): the list is empty") }
        return texts
    }

    /// A number of bytes, at least 1.
    func size(_ name: String) throws(RayStoreError) -> UInt64? {
        switch values[name] {
        case nil: return nil
        case .number(let number)? where number >= 1 && number == number.rounded() && number < 1e15: return UInt64(number)
        default: throw RayStoreError(.invalidArgument, "\(name): is not a number of bytes, which is a whole one and at least 1")
        }
    }
}

/// A value of JSON, as it stands.
enum JSONValue: Sendable, Decodable {
    case null
    case bool(Bool)
    case number(Double)
    case text(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .list(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }
}
