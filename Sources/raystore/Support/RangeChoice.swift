// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser

/// A part of some bytes as an argument: `OFFSET:SIZE`, or `OFFSET:` for what is behind.
struct RangeChoice: Hashable, Sendable, ExpressibleByArgument {
    let offset: Int
    /// Nil: to the end.
    let size: Int?

    init?(argument text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let offset = ByteSize(String(parts[0])) else { return nil }
        self.offset = offset.bytes
        if parts[1].isEmpty {
            size = nil
        } else {
            guard let size = ByteSize(String(parts[1])), size.bytes > 0 else { return nil }
            self.size = size.bytes
        }
    }

    var positions: Range<Int> {
        let (end, isBeyond) = offset.addingReportingOverflow(size ?? Int.max)
        return offset..<(isBeyond ? Int.max : end)
    }
}
