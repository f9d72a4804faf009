// SPDX-License-Identifier: Apache-2.0

/// A spilled object: where its record lies, and what must be found there.
struct SpillRecord: Sendable, Hashable {
    let location: SpillLocation
    let ownerSize: UInt64
    let metadataSize: UInt64
    let dataSize: UInt64
    /// XXH3-64. The data's is in the location.
    let metadataChecksum: UInt64
}
