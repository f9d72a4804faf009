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

    /// How long ago, in the two largest units: "0.3 s", "45 s", "3 min 5 s", "2 h 7 min", "4 d 3 h".
    static func age(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 86_400 else {
            return seconds < 10 ? decimals(max(0, seconds), 1) + " s" : Self.seconds(seconds)
        }
        let hours = Int(min(seconds, 1e12) / 3600)
        return "\(hours / 24) d \(hours % 24) h"
    }

    /// A part of a whole: "0%", "<1%", "12%"; "0%" of nothing.
    static func share(_ part: UInt64, of whole: UInt64) -> String {
        guard whole > 0, part > 0 else { return "0%" }
        let percent = Double(part) / Double(whole) * 100
        return percent < 1 ? "<1%" : "\(Int(percent))%"
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
