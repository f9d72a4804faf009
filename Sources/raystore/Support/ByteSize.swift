// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation

/// An amount of bytes as an argument: `4096`, `512M`, `1.5GiB`. K, M, G and T count in 1024, as KiB, MiB, GiB and TiB do; kB, MB, GB and TB
/// in 1000.
struct ByteSize: Hashable, Sendable {
    let bytes: Int

    init(bytes: Int) {
        self.bytes = bytes
    }

    init?(_ text: String) {
        let text = text.trimmingCharacters(in: .whitespaces)
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let number = Double(digits), number >= 0, digits.last != "." else { return nil }
        guard let factor = Self.factor(of: text[digits.endIndex...].trimmingCharacters(in: .whitespaces)) else { return nil }
        let product = number * factor
        guard product < Double(1 << 62) else { return nil }
        bytes = Int(product.rounded())
    }

    private static func factor(of unit: String) -> Double? {
        let unit = unit.lowercased()
        if unit.isEmpty || unit == "b" || unit == "byte" || unit == "bytes" { return 1 }
        guard let power = ["k", "m", "g", "t"].firstIndex(of: String(unit.prefix(1))) else { return nil }
        switch unit.dropFirst() {
        case "", "i", "ib": return pow(1024, Double(power + 1))
        case "b": return pow(1000, Double(power + 1))
        default: return nil
        }
    }
}

extension ByteSize {
    /// For options: what is wrong is said with an example.
    static func parse(_ text: String) throws -> ByteSize {
        guard let size = ByteSize(text) else {
            throw ValidationError("it is not a size; give a number with a unit, such as 512MiB or 2GiB")
        }
        return size
    }
}
