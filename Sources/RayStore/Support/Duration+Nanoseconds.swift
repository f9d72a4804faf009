// SPDX-License-Identifier: Apache-2.0

extension Duration {
    /// As the C core takes timeouts: what is below zero is zero, what is too long is for ever.
    package var nanosecondsClamped: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return .max }
        let (sum, overflow2) = whole.addingReportingOverflow(UInt64(attoseconds / 1_000_000_000))
        return overflow2 ? .max : sum
    }
}

extension Duration? {
    /// No timeout is for ever.
    package var nanosecondsOrForever: UInt64 {
        map(\.nanosecondsClamped) ?? .max
    }
}
