// SPDX-License-Identifier: Apache-2.0

/// One of the places that an object came from, in a ``TransferExplanation``.
public struct TransferSource: Hashable, Sendable, Codable {
    public let host: String
    public let port: UInt16
    /// Chunks that arrived from here and were kept; their size, and what came over the network for them.
    public let chunks: Int
    public let size: ByteCount
    public let wire: ByteCount
    /// Whether it has said anything of itself. Small objects come without it.
    public let isTold: Bool
    /// What its link takes, a second, as it measured; nil when it has not.
    public let linkRate: ByteCount?
    /// Threads with which it packs.
    public let packingThreads: Int
    /// Part of its cores that nobody uses, from 0 to 1; nil when it is not known.
    public let idleCores: Double?
    /// From no compression to the strongest: those that were used or measured.
    public let choices: [TransferChoice]

    package init(
        host: String, port: UInt16, chunks: Int, size: ByteCount, wire: ByteCount, isTold: Bool, linkRate: ByteCount?,
        packingThreads: Int, idleCores: Double?, choices: [TransferChoice]
    ) {
        self.host = host
        self.port = port
        self.chunks = chunks
        self.size = size
        self.wire = wire
        self.isTold = isTold
        self.linkRate = linkRate
        self.packingThreads = packingThreads
        self.idleCores = idleCores
        self.choices = choices
    }
}
