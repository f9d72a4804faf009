// SPDX-License-Identifier: Apache-2.0

/// Writes the payload of a request, as client.h lays it out: little endian, unpadded.
package struct PayloadWriter {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func append(_ id: ObjectID) {
        bytes.append(contentsOf: id.bytes)
    }

    package mutating func append(_ ids: [ObjectID]) {
        append(UInt32(ids.count))
        bytes.reserveCapacity(bytes.count + ids.count * 28)
        for id in ids {
            append(id)
        }
    }

    /// A u32 length and UTF-8.
    package mutating func append(text: String) {
        let utf8 = Array(text.utf8)
        append(UInt32(utf8.count))
        bytes.append(contentsOf: utf8)
    }

    package mutating func append(raw: some Sequence<UInt8>) {
        bytes.append(contentsOf: raw)
    }
}

/// Reads such a payload, or metadata. Every read is checked against what is there: nil means too short.
package struct PayloadReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    package init(_ bytes: some Collection<UInt8>) {
        self.bytes = ArraySlice(bytes)
        position = self.bytes.startIndex
    }

    package var remaining: Int { bytes.endIndex - position }

    package mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) -> Value? {
        guard let raw = raw(MemoryLayout<Value>.size) else { return nil }
        var value: Value = 0
        withUnsafeMutableBytes(of: &value) { $0.copyBytes(from: raw) }
        return Value(littleEndian: value)
    }

    package mutating func id() -> ObjectID? {
        raw(28).flatMap { ObjectID(bytes: $0) }
    }

    package mutating func raw(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= remaining else { return nil }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// UTF-8 of this many bytes; invalid UTF-8 reads as nil too.
    package mutating func text(_ count: Int) -> String? {
        raw(count).flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// A u32 length and UTF-8.
    package mutating func text() -> String? {
        integer(UInt32.self).flatMap { text(Int($0)) }
    }
}
