// SPDX-License-Identifier: Apache-2.0

/// One way in which chunks were packed, in a ``TransferExplanation``.
public struct TransferChoice: Hashable, Sendable, Codable {
    /// Why chunks came packed as they did, or not packed.
    public enum Reason: String, Hashable, Sendable, Codable, CaseIterable {
        /// The place has not said.
        case unknown
        /// Nothing was known of the link yet.
        case start
        /// The data does not shrink.
        case hopeless
        /// The link takes more than the free cores can pack.
        case fastLink
        /// The link is the limit, and nothing stronger pays.
        case strongest
        /// With it link and cores are both full.
        case balance
        /// The receiver is the limit, and unpacks it quickly.
        case slowReceiver
        /// Packing was tried and brought less than raw.
        case noGain
        /// So that its cost is known.
        case trial
        /// The transfer's tuning asks for it.
        case asked
        /// The place is set to it.
        case fixed
        /// The data came with the place's first answer.
        case small
        /// It was to be packed; that did not make it smaller, or there was no memory for it.
        case notSmaller
        /// It is one byte over and over.
        case uniform
    }

    /// `none`, `lz4` or `zstd`.
    public let codec: String
    /// Of Zstandard, else 0.
    public let level: Int
    /// Why most of these chunks came so.
    public let reason: Reason
    /// Whether numbers were put in another order before, the latest time.
    public let isFiltered: Bool
    /// That arrived so; their size, and what came over the network for them.
    public let chunks: Int
    public let size: ByteCount
    public let wire: ByteCount
    /// How often the place chose it, those on their way among them.
    public let chosen: Int
    /// What a core of the place packs in a second, and packed size over size, as it measured; nil when it has not.
    public let coreRate: ByteCount?
    public let ratio: Double?

    package init(
        codec: String, level: Int, reason: Reason, isFiltered: Bool, chunks: Int, size: ByteCount, wire: ByteCount, chosen: Int,
        coreRate: ByteCount?, ratio: Double?
    ) {
        self.codec = codec
        self.level = level
        self.reason = reason
        self.isFiltered = isFiltered
        self.chunks = chunks
        self.size = size
        self.wire = wire
        self.chosen = chosen
        self.coreRate = coreRate
        self.ratio = ratio
    }
}
