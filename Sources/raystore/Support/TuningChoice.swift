// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore

/// The options of `get`, `fetch` and `prefetch` that fix what is otherwise chosen by itself.
struct TuningChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How to compress: auto, none, lz4 or zstd[:LEVEL] with level -5 to 9. (default: auto, as measured)",
            valueName: "codec"),
        transform: { text in try Self.codec(text) })
    var codec: TransferTuning.Codec?

    @Option(
        help: ArgumentHelp("A power of two from 64KiB to 4MiB. (default: 4MiB)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var chunkSize: ByteSize?

    @Option(help: ArgumentHelp("To each machine that has it, 1 to 16. (default: 2, more to one that is far)", valueName: "count"))
    var connections: Int?

    @Option(
        help: ArgumentHelp("How much may be on its way from each machine. (default: 64MiB)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var window: ByteSize?

    @Option(
        help: ArgumentHelp("Bytes a second at most, before compression, such as 20MiB. (default: no limit)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var rateLimit: ByteSize?

    @Option(
        help: ArgumentHelp(
            "get, wait, prefetch or background: what is more urgent goes first. (default: get; of a prefetch, prefetch)",
            valueName: "class"),
        transform: { text in try Self.urgency(text) })
    var urgency: TransferTuning.Urgency?

    var tuning: TransferTuning {
        TransferTuning(
            codec: codec ?? .automatic, chunkSize: chunkSize.map { ByteCount($0.bytes) }, connections: connections,
            window: window.map { ByteCount($0.bytes) }, rateCap: rateLimit.map { ByteCount($0.bytes) }, urgency: urgency)
    }

    func validate() throws {
        do throws(RayStoreError) {
            try tuning.check()
        } catch {
            throw ValidationError(error.message)
        }
    }

    static func codec(_ text: String) throws -> TransferTuning.Codec {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        switch (parts[0], parts.dropFirst().first.map { Int($0) }) {
        case ("auto", nil): return .automatic
        case ("none", nil): return .none
        case ("lz4", nil): return .lz4
        case ("zstd", nil): return .zstd()
        case ("zstd", .some(.some(let level))): return .zstd(level: level)
        default: throw ValidationError("it is none of auto, none, lz4, zstd and zstd:LEVEL, such as zstd:3")
        }
    }

    static func urgency(_ text: String) throws -> TransferTuning.Urgency {
        guard let urgency = TransferTuning.Urgency(rawValue: text) else {
            throw ValidationError("it is none of \(TransferTuning.Urgency.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return urgency
    }
}
