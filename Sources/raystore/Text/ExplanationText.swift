// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Why a transfer went as it did, for people.
enum ExplanationText {
    /// A line for each place, and one for all; without a newline at its end.
    static func block(_ explanation: TransferExplanation?) -> String {
        guard let explanation else { return "nothing was transferred: it was on this node" }
        // Hosts are words of others.
        return explanation.text.split(separator: "\n").map { String($0).printable }.joined(separator: "\n")
    }
}
