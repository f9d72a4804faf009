// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// A part that is pulled into an object of its own, straight into its place in shared memory.
///
/// @unchecked: the engine calls `open` and `end` one after the other, and nobody else touches the writer.
final class StoredRange: RangeSink, @unchecked Sendable {
    let wanted: ByteRange
    /// The part's own, known to nobody else.
    let part: ObjectID
    private let store: NodeStore
    private let room: StoreAdmission
    private var writer: ray_object_writer?

    init(_ wanted: ByteRange, as part: ObjectID, in store: NodeStore, by room: StoreAdmission) {
        self.wanted = wanted
        self.part = part
        self.store = store
        self.room = room
    }

    func open(_ pull: OpaquePointer, _ card: ray_card) -> ray_status {
        var made = ray_object_writer()
        let size = wanted.count(of: card.size_bytes)
        let status = room.create(dataSize: size, metadataSize: card.metadata_size, &made)
        guard status == .ok else { return status }
        writer = made
        // The part says what the whole is: who reads it sees a failure that was put as such.
        if let from = card.metadata, let to = made.metadata {
            UnsafeMutableRawPointer(to).copyMemory(from: from, byteCount: Int(card.metadata_size))
        }
        return ray_pull_into_memory(pull, made.data, Int(size))
    }

    func end(with failure: RayStoreError?) -> RayStoreError? {
        guard var made = writer else { return failure }
        writer = nil
        if failure == nil {
            let status = ray_object_seal(store.handle, &made)
            return status == .ok ? nil : RayStoreError(status: status.rawValue, object: part)
        }
        ray_object_abort(store.handle, &made)
        return failure
    }
}
