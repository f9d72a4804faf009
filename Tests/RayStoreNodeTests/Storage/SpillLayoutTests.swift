// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreNode
import Testing

@Suite struct SpillLayoutTests {
    private static let owner: [UInt8] = Array("node 7".utf8)
    private static let data = [UInt8](repeating: 7, count: 100_000)
    /// What metadata begins with that is, or must not be taken for, an announcement.
    private static let likeAnAnnouncement: [UInt8] = Array("RAYPACK".utf8) + [1, 9, 9]
    private static let announcementBytes: UInt64 = 32

    private func recordSize(metadata: [UInt8], _ packing: SpillPacking?) throws -> UInt64 {
        try Self.owner.withUnsafeBytes { owner in
            try metadata.withUnsafeBytes { metadata in
                try Self.data.withUnsafeBytes { data in
                    let id = ObjectID(bytes: [UInt8](repeating: 0xa0, count: 28))!
                    let object = SpillLayout.Object(id: id, owner: owner, metadata: metadata, data: data)
                    return try SpillLayout([object], packing: packing).batch.recordSizes[0]
                }
            }
        }
    }

    private func plainSize(metadata: [UInt8]) -> UInt64 {
        UInt64(24 + Self.owner.count + metadata.count + Self.data.count)
    }

    /// Its record would be taken for a packed one by whoever knows no more than where it lies.
    @Test func whatMustBeAnnouncedAndCannotBeIsNotLaidDown() throws {
        var packing = SpillPacking(isByRange: false)
        #expect(try recordSize(metadata: [1, 2], packing) < plainSize(metadata: [1, 2]) / 2)
        #expect(
            try recordSize(metadata: Self.likeAnAnnouncement, nil)
                == plainSize(metadata: Self.likeAnAnnouncement) + Self.announcementBytes)
        packing.codec = 99
        #expect(try recordSize(metadata: [1, 2], packing) == plainSize(metadata: [1, 2]))
        let error = #expect(throws: RayStoreError.self) { try recordSize(metadata: Self.likeAnAnnouncement, packing) }
        #expect(error?.code == .invalidArgument)
    }
}
