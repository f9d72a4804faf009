// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// Blocks of which only a part was wanted, the latest of all sources: their other parts are wanted next. Few, for peers decide what is asked for.
final class KeptBlocks: Sendable {
    private static let countMax = 4

    private struct Contents {
        /// The latest last.
        var blocks: [(source: UInt64, block: Int, bytes: PackedBuffer)] = []
        var sourceCount: UInt64 = 0
    }

    private let contents = Mutex(Contents())

    /// A number that no other source has.
    func makeSource() -> UInt64 {
        contents.withLock { contents in
            contents.sourceCount += 1
            return contents.sourceCount
        }
    }

    func bytes(_ block: Int, of source: UInt64) -> PackedBuffer? {
        contents.withLock { $0.blocks.first { $0.source == source && $0.block == block }?.bytes }
    }

    func keep(_ bytes: PackedBuffer, as block: Int, of source: UInt64) {
        contents.withLock { contents in
            contents.blocks.append((source, block, bytes))
            if contents.blocks.count > Self.countMax { contents.blocks.removeFirst() }
        }
    }

    func forget(_ source: UInt64) {
        contents.withLock { $0.blocks.removeAll { $0.source == source } }
    }
}
