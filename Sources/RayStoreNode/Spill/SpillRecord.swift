// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// A spilled object: where its record lies, and what must be found there.
struct SpillRecord: Sendable, Hashable {
    let location: SpillLocation
    /// Where the file lies, if it is one of this machine that others than the storage may read.
    let path: String?
    let ownerSize: UInt64
    let metadataSize: UInt64
    let dataSize: UInt64
    /// XXH3-64. The data's is in the location.
    let metadataChecksum: UInt64
    /// XXH3-64 of each `RAY_SPILL_SUM_BYTES` of the data, so that a part of it can be believed without the rest.
    let blockSums: [UInt64]
    /// Bytes of the record's metadata before the object's own; mostly 0.
    let announcedSize: UInt64
    /// The object's metadata, where it is short and whoever asks for the object from elsewhere cannot have it from a file; else nil.
    let metadata: [UInt8]?
    /// The sizes of the frames that the data is packed in, one for each block; none when it is not packed.
    let frames: [UInt32]

    var isPacked: Bool { !frames.isEmpty }

    /// What stands before the object's own metadata: lengths, owner, and what is announced.
    var headSize: UInt64 { UInt64(RAY_SPILL_HEADER_SIZE) + ownerSize + announcedSize }

    var metadataOffset: UInt64 { location.offset + headSize }

    /// Of the data, or of its first frame.
    var dataOffset: UInt64 { metadataOffset + metadataSize }

    /// Whether what came of it is asked for once more before it is given up: on its way from another machine what is right may become wrong.
    func isWorthAnotherRead(after error: RayStoreError) -> Bool { error.code == .corrupt && path == nil }

    /// What the object takes in the store, or a little more.
    var memoryBytes: UInt64 { dataSize + metadataSize + 4096 }

    /// Of the record if nothing in it were packed.
    var ownBytes: UInt64 { UInt64(RAY_SPILL_HEADER_SIZE) + ownerSize + metadataSize + dataSize }
}
