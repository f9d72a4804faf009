// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// The node's hold on its shared-memory store: slot 0.
///
/// `@unchecked Sendable`: the C store may be used by any thread; the handle is closed only in deinit.
final class NodeStore: @unchecked Sendable {
    let handle: OpaquePointer
    /// Of the data segment, in bytes.
    let capacity: UInt64

    init(capacity: UInt64) throws(RayStoreError) {
        var options = ray_store_options()
        options.struct_size = UInt32(MemoryLayout<ray_store_options>.size)
        options.capacity_bytes = capacity
        var made: OpaquePointer?
        try RayStoreError.check { ray_store_create(&options, &made).rawValue }
        handle = made!
        var stats = ray_store_stats()
        stats.struct_size = UInt32(MemoryLayout<ray_store_stats>.size)
        self.capacity = ray_store_stats_read(made!, &stats) == .ok ? stats.capacity_bytes : capacity
    }

    deinit {
        ray_store_close(handle)
    }

    /// The entry of an object; nil when the table has none.
    func entry(of id: ObjectID) -> StoreEntry? {
        var info = ray_object_info()
        return id.withC { ray_object_stat(handle, &$0, &info) } == .ok ? StoreEntry(info) : nil
    }

    /// Makes sure of an entry with the node's ref, so that it stays until `disown`.
    @discardableResult
    func adopt(_ id: ObjectID) throws(RayStoreError) -> StoreEntry.State {
        var state: UInt32 = 0
        try RayStoreError.check(object: id) { id.withC { ray_node_adopt(handle, &$0, &state) }.rawValue }
        return StoreEntry.State(state)
    }

    func disown(_ id: ObjectID) {
        _ = id.withC { ray_node_disown(handle, &$0) }
    }

    /// Gives a client its ref before the client itself takes it.
    ///
    /// - Throws: `closed` when the client is gone.
    func giveRef(_ id: ObjectID, to client: ClientSlot) throws(RayStoreError) {
        try RayStoreError.check(object: id) {
            id.withC { ray_node_ref_for(handle, &$0, client.number, client.serial) }.rawValue
        }
    }

    /// Ends a value. Whoever pinned it reads on; an entry that has refs answers `failure` from now on.
    func delete(_ id: ObjectID, failure: RayStoreError.Code) {
        _ = id.withC { ray_object_delete(handle, &$0, ray_status(rawValue: failure.rawValue)) }
    }

    /// Ends an entry that has no value yet, and wakes who waits for it.
    func fail(_ id: ObjectID, with code: RayStoreError.Code) {
        _ = id.withC { ray_node_fail(handle, &$0, ray_status(rawValue: code.rawValue)) }
    }

    /// Gives up the value of an object that is to be had elsewhere.
    ///
    /// - Returns: how many bytes this call has freed, 0 when it had no value any more; nil when it has one that cannot go now.
    func evict(_ id: ObjectID) -> UInt64? {
        var freed: UInt64 = 0
        return id.withC { ray_node_evict(handle, &$0, &freed) } == .ok ? freed : nil
    }

    /// Makes it the one that was used last, as a get does.
    func touch(_ id: ObjectID) {
        var view = ray_object_view()
        if id.withC({ ray_object_get(handle, &$0, 0, &view) }) == .ok { ray_object_release(handle, &view) }
    }

    /// Sealed objects that nobody pins, least recently used first, of this many bytes together or, when there are not as many, all.
    ///
    /// - Parameter limit: of objects.
    func victims(_ bytes: UInt64, limit: Int) throws(RayStoreError) -> [StoreEntry] {
        var found = [ray_object_info](repeating: ray_object_info(), count: limit)
        var count: UInt32 = 0
        try RayStoreError.check { ray_node_victims(handle, bytes, 0, &found, UInt32(limit), &count).rawValue }
        return found.prefix(Int(count)).map(StoreEntry.init)
    }

    /// Bytes that objects take, as of just now; costs nothing.
    var usedBytes: UInt64 { ray_store_used_bytes(handle) }

    /// Lets a failed entry be tried again.
    func unfail(_ id: ObjectID) {
        _ = id.withC { ray_node_unfail(handle, &$0) }
    }

    /// Asks for attention when the object is sealed, fails or goes.
    func watch(_ id: ObjectID) {
        _ = id.withC { ray_node_watch(handle, &$0) }
    }

    /// Puts a small object of the node's own making, such as a file's descriptor.
    func put(_ id: ObjectID, data: [UInt8], metadata: [UInt8]) throws(RayStoreError) {
        try RayStoreError.check(object: id) {
            id.withC {
                ray_object_put(handle, &$0, data, UInt64(data.count), metadata, UInt32(metadata.count), 0)
            }.rawValue
        }
    }

    /// A copy of a small object's data and metadata.
    func copy(_ id: ObjectID) throws(RayStoreError) -> (data: [UInt8], metadata: [UInt8]) {
        var view = ray_object_view()
        try RayStoreError.check(object: id) { id.withC { ray_object_get(handle, &$0, 0, &view) }.rawValue }
        defer { ray_object_release(handle, &view) }
        return (
            Array(UnsafeBufferPointer(start: view.data, count: Int(view.data_size))),
            Array(UnsafeBufferPointer(start: view.metadata, count: Int(view.metadata_size)))
        )
    }

    func stats() throws(RayStoreError) -> ray_store_stats {
        var stats = ray_store_stats()
        stats.struct_size = UInt32(MemoryLayout<ray_store_stats>.size)
        try RayStoreError.check { ray_store_stats_read(handle, &stats).rawValue }
        return stats
    }

    /// Every entry, as far as it stands still meanwhile.
    func entries() throws(RayStoreError) -> [StoreEntry] {
        var entries: [StoreEntry] = []
        var cursor: UInt64 = 0
        var batch = [ray_object_info](repeating: ray_object_info(), count: 256)
        while true {
            var count: UInt32 = 0
            try RayStoreError.check { ray_store_list(handle, &cursor, &batch, UInt32(batch.count), &count).rawValue }
            if count == 0 { return entries }
            entries += batch.prefix(Int(count)).map(StoreEntry.init)
        }
    }

    /// What each client has to do with what is in memory; the node first, those that have gone last. Looks at the whole table.
    func clients() throws(RayStoreError) -> [ray_store_client] {
        let capacity = UInt32(RAY_CLIENT_ROWS_MAX)
        var rows = [ray_store_client](repeating: ray_store_client(), count: Int(capacity))
        var count: UInt32 = 0
        try RayStoreError.check { ray_store_clients_list(handle, &rows, capacity, &count).rawValue }
        return Array(rows.prefix(Int(count)))
    }

    /// Begins to take memory on a thread of the store's own; nil for the usual share.
    func startPrefault(upTo bytes: UInt64?) throws(RayStoreError) {
        try RayStoreError.check { ray_store_prefault_start(handle, bytes ?? UInt64.max).rawValue }
    }

    /// Ends that thread. Blocks for a step of it.
    func stopPrefault() {
        ray_store_prefault_stop(handle)
    }

    /// Waits for entries that want the node's attention. Blocks: for the node's own thread only. Nil when it is over.
    func awaitAttention() -> [StoreEntry]? {
        var batch = [ray_object_info](repeating: ray_object_info(), count: 256)
        var count: UInt32 = 0
        let status = ray_node_attention_wait(handle, UInt64.max, &batch, UInt32(batch.count), &count)
        return status == .closed ? nil : batch.prefix(Int(count)).map(StoreEntry.init)
    }

    func stopAttention() {
        ray_node_attention_stop(handle)
    }
}

/// A client's place in the store, and which of the clients that had it.
struct ClientSlot: Hashable, Sendable {
    let number: UInt32
    let serial: UInt32
}

/// What the table says of an object.
struct StoreEntry: Sendable {
    enum State: Sendable {
        case empty, creating, sealed, spilled, remote, failed, deleting

        init(_ raw: UInt32) {
            self =
                switch raw {
                case UInt32(RAY_STATE_CREATING): .creating
                case UInt32(RAY_STATE_SEALED): .sealed
                case UInt32(RAY_STATE_SPILLED): .spilled
                case UInt32(RAY_STATE_REMOTE): .remote
                case UInt32(RAY_STATE_FAILED): .failed
                case UInt32(RAY_STATE_DELETING): .deleting
                default: .empty
                }
        }
    }

    let id: ObjectID
    let state: State
    let failure: RayStoreError.Code
    let dataSize: UInt64
    let creatorSlot: UInt32
    /// Nil when it is not known.
    let creatorProcess: Int32?
    /// Since its creator began to make it.
    let age: Duration
    /// What its block takes, rounding included.
    let memoryBytes: UInt64
    let pinningClients: Int
    let referringClients: Int
    let nodeHasRef: Bool
    /// Of the store's clock of uses, which moves with each create.
    let accessTick: UInt64

    init(_ info: ray_object_info) {
        id = ObjectID(c: info.id)
        state = State(info.state)
        failure = RayStoreError.Code(rawValue: info.failure)
        dataSize = info.data_size
        creatorSlot = info.creator_slot
        creatorProcess = info.creator_pid == 0 ? nil : Int32(exactly: info.creator_pid)
        age = .nanoseconds(Int64(clamping: info.age_ns))
        memoryBytes = info.memory_bytes
        pinningClients = Int(info.pin_slot_count)
        referringClients = Int(info.ref_slot_count)
        nodeHasRef = info.node_has_ref
        accessTick = info.access_tick
    }
}
