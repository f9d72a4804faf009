// SPDX-License-Identifier: Apache-2.0
import RayStore
import Testing

@testable import RayStoreNode

/// What is read ahead of somebody who gets what lies in a file in its order.
@Suite struct ReadAheadTests {
    private static let megabyte: UInt64 = 1 << 20

    private func record(_ number: UInt64, of file: String = "one", path: String? = "/one") -> SpillRecord {
        let size = 10 * Self.megabyte
        return SpillRecord(
            location: SpillLocation(file: file, offset: number * size, size: size, checksum: 1), path: path, ownerSize: 0,
            metadataSize: 0, dataSize: size, metadataChecksum: 0, blockSums: [], announcedSize: 0, metadata: nil, frames: [])
    }

    private func id(_ number: UInt8) -> ObjectID { ObjectID(bytes: [UInt8](repeating: 7, count: 27) + [number])! }

    @Test func aPieceIsBegunAsSoonAsThereIsRoomForOneAndElsewhereForHalf() throws {
        for (path, most) in [("/one", 7), (nil, 4)] as [(String?, UInt64)] {
            var ahead = ReadAhead(limit: 80 * Self.megabyte, capacity: 320 * Self.megabyte)
            for number in 0..<10 as Range<UInt64> { ahead.noteGot(record(number, path: path), at: .zero) }
            ahead.comingBytes = most * 10 * Self.megabyte
            let next = try #require(ahead.next(at: .zero))
            #expect(next.from == 100 * Self.megabyte)
            #expect(next.bytes == (8 - most) * 10 * Self.megabyte)
            ahead.comingBytes += 1
            #expect(ahead.next(at: .zero) == nil)
        }
    }

    @Test func whatLiesBehindTheReaderIsPassed() {
        var ahead = ReadAhead(limit: 80 * Self.megabyte, capacity: 320 * Self.megabyte)
        for number in 0..<3 as Range<UInt64> { ahead.noteGot(record(number), at: .zero) }
        #expect(ahead.isPassed(record(2)))
        #expect(!ahead.isPassed(record(3)))
        #expect(!ahead.isPassed(record(0, of: "two")))
    }

    @Test func theRestOfAFileIsPassedWhenTheReaderIsInTheNext() {
        var ahead = ReadAhead(limit: 80 * Self.megabyte, capacity: 320 * Self.megabyte)
        for number in 0..<3 as Range<UInt64> { ahead.noteGot(record(number), at: .zero) }
        let isCrossed = ahead.crossOver(from: "one", to: "two")
        #expect(isCrossed)
        #expect(!ahead.isPassed(record(3)))
        ahead.noteGot(record(0, of: "two"), at: .zero)
        #expect(ahead.isPassed(record(3)))
    }

    @Test func whatIsReleasedTakesNoRoomAnyMore() {
        var ahead = ReadAhead(limit: 80 * Self.megabyte, capacity: 320 * Self.megabyte)
        ahead.hold(id(1), record(1), tick: 5)
        #expect(ahead.heldBytes == 10 * Self.megabyte)
        let first = ahead.release(id(1))
        #expect(first?.tick == 5)
        #expect(ahead.heldBytes == 0)
        let second = ahead.release(id(1))
        #expect(second == nil)
    }

    /// It went and came once more without anybody's notice.
    @Test func whatIsHeldOnceMoreTakesItsRoomOnce() {
        var ahead = ReadAhead(limit: 80 * Self.megabyte, capacity: 320 * Self.megabyte)
        ahead.hold(id(1), record(1), tick: 5)
        ahead.hold(id(1), record(1), tick: 9)
        #expect(ahead.heldBytes == 10 * Self.megabyte)
        #expect(ahead.held[id(1)]?.tick == 9)
        ahead.noteUsed(id(1))
        ahead.noteUsed(id(1))
        #expect(ahead.heldBytes == 0 && ahead.usedCount == 1)
    }
}
