// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

// Room for what comes back. When nothing can be written any more, puts fill memory with what cannot go; without room of their own the objects
// that lie in the storage could not be read then, though nothing is wrong with them. What comes back goes again without a write, so room for one
// of them is room for each in its turn.
extension Spiller {
    /// The part of the store that is kept at most. Larger objects come back when there is room for them.
    static let keptPart: UInt64 = 8

    /// What is kept now.
    nonisolated var keptBytes: UInt64 { kept.withLock { $0 } }

    /// Keeps as much as the largest object that has a record takes. Called when a record has come and its memory has not gone yet, so that what goes
    /// is kept, and when records have gone.
    nonisolated func keepRoom() {
        kept.withLock { kept in
            let wanted = min(index.largestMemoryBytes, capacity / Self.keptPart)
            guard wanted != kept else { return }
            kept = wanted
            store.keepRoom(wanted)
        }
    }
}
