// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// Blocks of which only a part was wanted, the latest of all sources: their other parts are wanted next. Few, for peers decide what is asked for.
final class KeptBlocks: Sendable {
    private static let countMax = 4

    /// A block's place from when it is first asked for.
    private final class Place: Sendable {
        let source: UInt64
        let block: Int
        /// Locked while it is read: who wants it meanwhile waits for that, and asks the storage only if it fails.
        let bytes = Mutex<BlockBuffer?>(nil)

        init(source: UInt64, block: Int) {
            self.source = source
            self.block = block
        }
    }

    private struct Contents {
        /// The latest last.
        var places: [Place] = []
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

    /// The block, which is read when nobody has; once for all who ask at a time.
    func bytes(
        _ block: Int, of source: UInt64, read: () throws(RayStoreError) -> BlockBuffer
    ) throws(RayStoreError) -> BlockBuffer {
        let place = contents.withLock { contents in
            if let known = contents.places.first(where: { $0.source == source && $0.block == block }) { return known }
            let new = Place(source: source, block: block)
            contents.places.append(new)
            // Whoever waits for that one keeps it until it has it.
            if contents.places.count > Self.countMax { contents.places.removeFirst() }
            return new
        }
        return try place.bytes.withLock { (bytes) throws(RayStoreError) in
            if let bytes { return bytes }
            let read = try read()
            bytes = read
            return read
        }
    }

    func forget(_ source: UInt64) {
        contents.withLock { $0.places.removeAll { $0.source == source } }
    }
}
