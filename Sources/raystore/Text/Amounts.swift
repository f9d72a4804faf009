// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore

/// How amounts are written for people.
enum Amounts {
    static func bytes(_ count: UInt64) -> String {
        ByteCount(Int(clamping: count)).description
    }

    /// "1.2 GiB/s".
    static func rate(_ bytesPerSecond: Double) -> String {
        guard bytesPerSecond.isFinite, bytesPerSecond >= 0 else { return "- /s" }
        return ByteCount(Int(min(bytesPerSecond, Double(Int64.max / 2)))).description + "/s"
    }

    /// "0.03 s", "3.2 s", "45 s", "3 min 5 s", "2 h 7 min".
    static func seconds(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "-" }
        if seconds < 1 { return String(format: "%.2f s", seconds) }
        if seconds < 10 { return String(format: "%.1f s", seconds) }
        let whole = Int(min(seconds.rounded(), 1e9))
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }

    /// "0.25"
    static func decimals(_ number: Double, _ digits: Int) -> String {
        number.isFinite ? String(format: "%.\(digits)f", number) : "-"
    }

    /// "1 object", "2 objects".
    static func count(_ count: Int, _ noun: String) -> String {
        count == 1 ? "1 \(noun)" : "\(count) \(noun)s"
    }
}
