// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// An object that is to be brought back.
struct WantedObject: Sendable {
    typealias Continuation = CheckedContinuation<Result<Void, RayStoreError>, Never>

    let ticket: UInt64
    let id: ObjectID
    let record: SpillRecord
    /// Of who asked for it first; nil when nobody has yet: it is read ahead.
    let continuation: Continuation?
    var asker: ClientSlot?

    /// What it takes in the store.
    var storeBytes: UInt64 { record.dataSize + record.metadataSize }
}
