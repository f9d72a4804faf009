// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

extension TransferExplanation {
    /// What the engine says of a pull, under way or over.
    init(of pull: CHandle) {
        var sources: [TransferSource] = []
        var source = ray_source_explanation()
        source.struct_size = UInt32(MemoryLayout<ray_source_explanation>.size)
        while ray_pull_explain_source(pull.pointer, UInt32(sources.count), &source) == .ok {
            sources.append(TransferSource(source))
        }
        // Most fit; one of many places is asked for again.
        var room = 2048
        var text = ""
        var size = room
        while size >= room {
            room = max(room, size + 1)
            text = String(unsafeUninitializedCapacity: room) { bytes in
                bytes.withMemoryRebound(to: CChar.self) { size = ray_pull_explain(pull.pointer, $0.baseAddress, $0.count) }
                return min(size, room - 1)
            }
        }
        self.init(sources: sources, text: text)
    }
}

extension TransferSource {
    fileprivate init(_ source: ray_source_explanation) {
        let choices = withUnsafeBytes(of: source.choices) { bytes in
            bytes.bindMemory(to: ray_choice_explanation.self).prefix(Int(source.choice_count)).map { TransferChoice($0) }
        }
        let host = withUnsafeBytes(of: source.endpoint.host) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        self.init(
            host: host, port: source.endpoint.port, chunks: Int(source.chunk_count),
            size: ByteCount(Int(clamping: source.raw_bytes)), wire: ByteCount(Int(clamping: source.wire_bytes)),
            isTold: source.is_told != 0, linkRate: ByteCount(measured: source.link_rate),
            packingThreads: Int(source.thread_count),
            idleCores: source.is_told != 0 && source.idle_permille <= 1000 ? Double(source.idle_permille) / 1000 : nil,
            choices: choices)
    }
}

extension TransferChoice {
    fileprivate init(_ choice: ray_choice_explanation) {
        let codecs = ["", "none", "lz4", "zstd"]
        // By their numbers in transfer.h.
        let reasons: [Reason] = Reason.allCases
        self.init(
            codec: codecs[Int(choice.codec)], level: Int(choice.level),
            reason: Int(choice.reason) < reasons.count ? reasons[Int(choice.reason)] : .unknown,
            isFiltered: choice.filter != 0, chunks: Int(choice.chunk_count), size: ByteCount(Int(clamping: choice.raw_bytes)),
            wire: ByteCount(Int(clamping: choice.wire_bytes)), chosen: Int(choice.chosen_count),
            coreRate: ByteCount(measured: choice.core_rate),
            ratio: choice.ratio_permille > 0 ? Double(choice.ratio_permille) / 1000 : nil)
    }
}

extension ByteCount {
    fileprivate init?(measured bytes: UInt64) {
        guard bytes > 0 else { return nil }
        self.init(Int(clamping: bytes))
    }
}
