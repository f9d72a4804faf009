// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStoreNode

/// The options of `start` that say what files leave free of their disk.
struct DiskChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp("Leave so much of the state directory's disk free of files. (default: 64MiB)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var diskReserve: ByteSize?

    @Option(
        help: ArgumentHelp(
            """
            Fill that disk with files only as long as it is not fuller than this, with all that others have there. Copies that other \
            nodes have too make room, least recently used first. (default: 95%)
            """, valueName: "percent"),
        transform: { text in try Watermark(text) })
    var diskWatermark: Watermark?

    @Flag(
        help: """
            When the disk is short, move files that this node owns to its storage, and bring them back when they are wanted. \
            The storage should be on another disk, or S3.
            """)
    var moveFiles = false

    struct Watermark: Sendable, Hashable {
        let percent: Double

        init(_ text: String) throws {
            let number = text.hasSuffix("%") ? text.dropLast() : text[...]
            guard let percent = Double(number), percent >= 1, percent <= 100 else {
                throw ValidationError("'\(text)' is no part of a disk; give one from 1% to 100%")
            }
            self.percent = percent
        }
    }

    var limits: DiskSetup {
        DiskSetup(reserve: diskReserve, watermarkPercent: diskWatermark?.percent, movesFiles: moveFiles)
    }
}

/// What files leave of their disk; nil for the usual.
struct DiskSetup: Sendable {
    var reserve: ByteSize?
    var watermarkPercent: Double?
    var movesFiles = false

    /// The options that say the same.
    var arguments: [String] {
        var words: [String] = []
        if let reserve { words += ["--disk-reserve", String(reserve.bytes)] }
        if let watermarkPercent { words += ["--disk-watermark", "\(watermarkPercent)%"] }
        if movesFiles { words += ["--move-files"] }
        return words
    }

    func set(_ options: inout NodeOptions) {
        options.movesFiles = movesFiles
        if let reserve { options.diskReserve = UInt64(reserve.bytes) }
        if let watermarkPercent { options.diskWatermark = watermarkPercent / 100 }
    }
}
