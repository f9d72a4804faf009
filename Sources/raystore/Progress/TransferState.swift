// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// How far a transfer has come, as plain numbers: what the progress line is drawn from.
struct TransferState: Equatable, Sendable {
    var done = 0
    var total = 0
    /// Bytes that came over the network for the done ones.
    var wire = 0
    /// Since the transfer began.
    var seconds = 0.0
    /// Bytes a second of late; of the whole transfer when it is over.
    var rate = 0.0
    var wireRate = 0.0
    var uncompressedChunks = 0
    var lz4Chunks = 0
    var zstdChunks = 0
    var zstdLevel = 0
    var sources = 0
    var retriedChunks = 0
    /// Who is tried again while nothing comes; nil when something does.
    var waitingFor: String?

    var isComplete: Bool { done >= total }

    var percent: Int {
        guard total > 0 else { return 100 }
        return isComplete ? 100 : min(99, Int(Double(done) / Double(total) * 100))
    }

    /// What is left at the present rate; nil when nothing moves.
    var secondsLeft: Double? {
        guard !isComplete, rate > 0 else { return nil }
        return Double(total - done) / rate
    }

    /// The share of chunks by codec: "zstd-1 80%, lz4 20%"; empty before the first chunk.
    var codecs: String {
        let counts = [
            ("zstd\(zstdLevel < 0 ? "" : "+")\(zstdLevel)", zstdChunks), ("lz4", lz4Chunks), ("raw", uncompressedChunks),
        ]
        let sum = zstdChunks + lz4Chunks + uncompressedChunks
        guard sum > 0 else { return "" }
        let used = counts.filter { $0.1 > 0 }
        if used.count == 1 { return used[0].0 }
        return used.map { "\($0.0) \(Int((Double($0.1) / Double(sum) * 100).rounded()))%" }.joined(separator: " ")
    }
}

extension TransferState {
    init(_ progress: TransferProgress) {
        done = progress.done.bytes
        total = progress.total.bytes
        wire = progress.wire.bytes
        seconds = progress.elapsed / .seconds(1)
        rate = seconds > 0 ? Double(done) / seconds : 0
        wireRate = seconds > 0 ? Double(wire) / seconds : 0
        uncompressedChunks = progress.uncompressedChunks
        lz4Chunks = progress.lz4Chunks
        zstdChunks = progress.zstdChunks
        zstdLevel = progress.zstdLevel
        sources = progress.sources
        retriedChunks = progress.retriedChunks
    }
}
