// SPDX-License-Identifier: Apache-2.0

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
}
