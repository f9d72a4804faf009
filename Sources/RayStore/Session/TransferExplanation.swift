// SPDX-License-Identifier: Apache-2.0

/// Why the transfer of an object went as it did: what came from each place that has it, how it was packed, and why.
///
/// What arrived is counted at this end; a place's link, cores and reasons are what it says of itself, a few times a second and near its end.
public struct TransferExplanation: Hashable, Sendable, Codable {
    /// The places that sent something.
    public let sources: [TransferSource]
    /// The same in words: a line for each place, and one that says what most chunks got, and why. Its wording may change.
    public let text: String

    package init(sources: [TransferSource], text: String) {
        self.sources = sources
        self.text = text
    }
}
