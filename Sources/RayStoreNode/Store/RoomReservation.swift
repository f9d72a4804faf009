// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// An object that the node has created for itself, to be filled by whoever takes it; it goes when nobody does.
final class RoomReservation: Sendable {
    let id: ObjectID
    private let store: NodeStore
    private let isTaken = Atomic(false)

    /// - Parameter id: of an object that `RoomQueue.create` has created for no client.
    init(_ id: ObjectID, in store: NodeStore) {
        self.id = id
        self.store = store
    }

    deinit {
        if !isTaken.load(ordering: .relaxed) { id.withC { ray_object_decline(store.handle, &$0) } }
    }

    /// The object's place in the store, once. May wait for the machine's memory.
    func take(_ writer: inout ray_object_writer) -> ray_status {
        guard !isTaken.exchange(true, ordering: .relaxed) else { return .inUse }
        return id.withC { ray_object_accept(store.handle, &$0, 0, &writer) }
    }
}
