// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
public import RayStore

/// How far a fetch has come.
public struct FetchProgress: Hashable, Sendable {
    /// Verified and in place.
    public let done: UInt64
    public let total: UInt64
    /// Of the done bytes, those that an earlier fetch had left.
    public let resumed: UInt64
    /// What came over the network for the others.
    public let wire: UInt64
    public let elapsed: Duration
    /// Chunks that came without compression, with LZ4, with Zstandard.
    public let uncompressedChunks: Int
    public let lz4Chunks: Int
    public let zstdChunks: Int
    /// Of the latest Zstandard chunk.
    public let zstdLevel: Int
    /// Chunks that were asked for again.
    public let retriedChunks: Int
    /// 1 while the server serves it, 0 while it is waited for.
    public let sources: Int
    /// Why it went as it did; nil until it has ended.
    public let explanation: TransferExplanation?

    init(_ progress: ray_transfer_progress, explanation: TransferExplanation? = nil) {
        self.explanation = explanation
        done = progress.done_bytes
        total = progress.total_bytes
        resumed = progress.resumed_bytes
        wire = progress.wire_bytes
        elapsed = .nanoseconds(Int64(clamping: progress.elapsed_ns))
        uncompressedChunks = Int(progress.none_count)
        lz4Chunks = Int(progress.lz4_count)
        zstdChunks = Int(progress.zstd_count)
        zstdLevel = Int(progress.zstd_level)
        retriedChunks = Int(progress.retried_count)
        sources = Int(progress.source_count)
    }
}
