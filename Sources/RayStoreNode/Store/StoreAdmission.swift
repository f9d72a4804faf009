// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// One object's way into the store from elsewhere: at once when there is room, else when it has waited for its turn.
final class StoreAdmission: Sendable {
    fileprivate struct State {
        /// What was found missing.
        var wanted: (dataSize: UInt64, metadataSize: UInt32)?
        /// What was created for it since.
        var reservation: RoomReservation?
    }

    private let id: ObjectID
    private let queue: RoomQueue
    private let store: NodeStore
    private let asker: ClientSlot?
    private let state = Mutex(State())

    /// - Parameter asker: in whose turn it waits; nil for nobody's of this node.
    init(_ id: ObjectID, in store: NodeStore, by queue: RoomQueue, for asker: ClientSlot?) {
        self.id = id
        self.asker = asker
        self.store = store
        self.queue = queue
    }

    /// Takes the object's place in the store. From the engine's threads.
    func create(dataSize: UInt64, metadataSize: UInt32, _ writer: inout ray_object_writer) -> ray_status {
        if let reservation = state.withLock({ $0.takeReservation() }) { return reservation.take(&writer) }
        let status = id.withC { ray_object_create(store.handle, &$0, dataSize, metadataSize, 0, &writer) }
        if status == .storeFull { state.withLock { $0.wanted = (dataSize, metadataSize) } }
        return status
    }

    /// Lets a pull go on into it.
    func open(_ pull: OpaquePointer, _ card: ray_card) -> ray_status {
        var writer = ray_object_writer()
        var status = create(dataSize: card.size_bytes, metadataSize: card.metadata_size, &writer)
        guard status == .ok else { return status }
        status = ray_pull_into_object(pull, &writer)
        if status != .ok { ray_object_abort(store.handle, &writer) }
        return status
    }

    /// After a failure: returns when there is room, so that it can be tried again.
    ///
    /// - Throws: the failure, when it was not for want of room; why there will be none.
    func awaitRoom(after failure: RayStoreError) async throws(RayStoreError) {
        guard failure.code == .storeFull, let wanted = state.withLock({ $0.takeWanted() }) else { throw failure }
        try await queue.create(
            RoomRequest(
                id: id, dataSize: wanted.dataSize, metadataSize: wanted.metadataSize, client: nil, limit: nil, asker: asker))
        let reservation = RoomReservation(id, in: store)
        state.withLock { $0.reservation = reservation }
    }
}

extension StoreAdmission.State {
    fileprivate mutating func takeReservation() -> RoomReservation? {
        defer { reservation = nil }
        return reservation
    }

    fileprivate mutating func takeWanted() -> (dataSize: UInt64, metadataSize: UInt32)? {
        defer { wanted = nil }
        return wanted
    }
}
