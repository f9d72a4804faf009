// SPDX-License-Identifier: Apache-2.0

/// An amount of bytes. Its text is short: "8 MiB", "1.5 GiB", "17 bytes".
public struct ByteCount: Hashable, Comparable, Sendable {
    public let bytes: Int

    public init(_ bytes: Int) {
        self.bytes = bytes
    }

    public static func bytes(_ count: Int) -> ByteCount { ByteCount(count) }
    public static func kibibytes(_ count: Int) -> ByteCount { ByteCount(count << 10) }
    public static func mebibytes(_ count: Int) -> ByteCount { ByteCount(count << 20) }
    public static func gibibytes(_ count: Int) -> ByteCount { ByteCount(count << 30) }

    public static let zero = ByteCount(0)

    public static func < (a: ByteCount, b: ByteCount) -> Bool { a.bytes < b.bytes }
    public static func + (a: ByteCount, b: ByteCount) -> ByteCount { ByteCount(a.bytes + b.bytes) }
    public static func - (a: ByteCount, b: ByteCount) -> ByteCount { ByteCount(a.bytes - b.bytes) }
    public static func += (a: inout ByteCount, b: ByteCount) { a = a + b }
}

extension ByteCount: CustomStringConvertible {
    public var description: String {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        guard bytes.magnitude >= 1024 else { return bytes == 1 ? "1 byte" : "\(bytes) bytes" }
        var unit = 0
        // One digit after the point, in tenths, so that no formatting library is needed.
        var tenths = (Double(bytes) / 1024 * 10).rounded()
        while tenths.magnitude >= 10_240, unit + 1 < units.count {
            tenths = (tenths / 1024).rounded()
            unit += 1
        }
        let whole = Int(tenths / 10)
        let tenth = Int(tenths.magnitude) % 10
        return tenth == 0 ? "\(whole) \(units[unit])" : "\(whole).\(tenth) \(units[unit])"
    }
}

extension ByteCount: Codable {
    public init(from decoder: any Decoder) throws {
        bytes = try decoder.singleValueContainer().decode(Int.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(bytes)
    }
}
