// SPDX-License-Identifier: Apache-2.0

/// What held up a get that ran out of time: who ends it says so at the end of its message, and whoever hands the error on in its own.
package enum WaitReason {
    private static let separator = "; "

    package static func append(_ reason: String?, to message: String) -> String {
        guard let reason, !reason.isEmpty else { return message }
        return message + separator + reason
    }

    /// What was appended to a message, whose beginning has no semicolon.
    package static func of(_ error: RayStoreError) -> String? {
        let parts = error.message.split(separator: separator, maxSplits: 1)
        return parts.count == 2 ? String(parts[1]) : nil
    }
}
