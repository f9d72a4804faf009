// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// How far the transfer of an object to this node has come.
public struct TransferProgress: Hashable, Sendable {
    public let object: ObjectID
    /// Verified and in place.
    public let done: ByteCount
    public let total: ByteCount
    /// Received over the network for the done bytes; less than `done` when compression paid.
    public let wire: ByteCount
    public let elapsed: Duration
    /// Chunks that came without compression, with LZ4, with Zstandard.
    public let uncompressedChunks: Int
    public let lz4Chunks: Int
    public let zstdChunks: Int
    /// Of the latest Zstandard chunk.
    public let zstdLevel: Int
    /// The places that serve it now.
    public let sources: Int
    /// Chunks that were asked for again.
    public let retriedChunks: Int

    /// From 0 to 1. An empty object is complete.
    public var fraction: Double { total.bytes == 0 ? 1 : Double(done.bytes) / Double(total.bytes) }

    /// Done bytes a second, on average; 0 when no time has passed.
    public var bytesPerSecond: Double {
        let seconds = elapsed / .seconds(1)
        return seconds > 0 ? Double(done.bytes) / seconds : 0
    }

    init(of object: ObjectID, _ progress: ray_transfer_progress) {
        self.object = object
        done = ByteCount(Int(clamping: progress.done_bytes))
        total = ByteCount(Int(clamping: progress.total_bytes))
        wire = ByteCount(Int(clamping: progress.wire_bytes))
        elapsed = .nanoseconds(Int64(clamping: progress.elapsed_ns))
        uncompressedChunks = Int(progress.none_count)
        lz4Chunks = Int(progress.lz4_count)
        zstdChunks = Int(progress.zstd_count)
        zstdLevel = Int(progress.zstd_level)
        sources = Int(progress.source_count)
        retriedChunks = Int(progress.retried_count)
    }
}
