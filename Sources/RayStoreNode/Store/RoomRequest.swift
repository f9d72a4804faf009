// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// An object that found no room.
struct RoomRequest: Sendable {
    let id: ObjectID
    let dataSize: UInt64
    let metadataSize: UInt32
    /// In whose name it is created; nil for the node itself, which pulls it or brings it back.
    let client: ClientSlot?
    /// How long it waits, whatever comes; nil as long as there is hope.
    let limit: Duration?
    /// Whose get it comes for, when `client` is nil; nil for nobody's of this node.
    var asker: ClientSlot?
    /// It has a record outside of memory: it may take the room that is kept for such, and goes again without a write.
    var comesBack = false

    var line: RoomLine { client.map { .creates(of: $0) } ?? .gets(of: asker) }

    /// What its block takes, or a little less.
    var bytes: UInt64 {
        let (sum, overflow) = dataSize.addingReportingOverflow(UInt64(metadataSize))
        return overflow ? .max : sum
    }
}
