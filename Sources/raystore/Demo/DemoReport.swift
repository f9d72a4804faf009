// SPDX-License-Identifier: Apache-2.0

/// What the demo measured; the document of `raystore demo --json`.
struct DemoReport: Codable, Sendable {
    struct Step: Codable, Sendable {
        var what: String
        var bytes: Int
        var seconds: Double
        /// Over the network; 0 for what stays on one node.
        var wireBytes = 0
        var codecs = ""
        /// The nodes that hold the object after it.
        var copies: [String] = []

        var bytesPerSecond: Double { seconds > 0 ? Double(bytes) / seconds : 0 }
        var ratio: Double? { wireBytes > 0 ? Double(bytes) / Double(wireBytes) : nil }
    }

    var network: String
    var steps: [Step] = []
    /// Every byte arrived, and was read in place.
    var isVerified = false
    /// From the last ref's end until both nodes held nothing.
    var secondsUntilGone = 0.0

    var table: String {
        var table = Table(
            .init("WHAT"), .init("BYTES", .right), .init("SECONDS", .right), .init("GB/s", .right), .init("WIRE", .right),
            .init("RATIO", .right), .init("CODECS"), .init("COPIES AT"))
        for step in steps {
            table.add(
                step.what, Amounts.bytes(UInt64(step.bytes)), Amounts.decimals(step.seconds, 3),
                Amounts.decimals(step.bytesPerSecond / 1e9, 2), step.wireBytes > 0 ? Amounts.bytes(UInt64(step.wireBytes)) : "-",
                step.ratio.map { Amounts.decimals($0, 2) } ?? "-", step.codecs.isEmpty ? "-" : step.codecs,
                step.copies.isEmpty ? "-" : step.copies.joined(separator: ", "))
        }
        return table.text()
    }
}
