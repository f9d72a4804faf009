// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

// What the store does for those who wait for room.
extension NodeStore {
    /// Creates an object in the name of who waits for it.
    ///
    /// - Parameter fromKept: it may take what is kept.
    /// - Throws: `storeFull`; `exists`, `tableFull`; `closed` when the client is gone.
    func create(_ request: RoomRequest, fromKept: Bool = false) throws(RayStoreError) {
        let slot = request.client
        let flags = (slot == nil ? 0 : UInt32(RAY_CREATE_WITH_REF)) | (fromKept ? UInt32(RAY_CREATE_FROM_KEPT) : 0)
        try RayStoreError.check(object: request.id) {
            request.id.withC {
                ray_node_create_for(
                    handle, slot?.number ?? UInt32(RAY_NODE_SLOT), slot?.serial ?? 0, &$0, request.dataSize, request.metadataSize,
                    flags)
            }.rawValue
        }
    }

    /// How often memory came free while somebody watched; from now on the next time is noticed.
    func watchRoom() throws(RayStoreError) -> UInt32 {
        var seen: UInt32 = 0
        try RayStoreError.check { ray_node_room_watch(handle, &seen).rawValue }
        return seen
    }

    /// Returns when memory has come free since the watch, or `wakeRoom` was called, or after so long. Blocks.
    func waitForRoom(since seen: UInt32, atMost limit: Duration) {
        _ = ray_node_room_wait(handle, seen, limit.nanosecondsClamped)
    }

    func wakeRoom() {
        ray_node_room_wake(handle)
    }

    /// Lets clients take only so many bytes more by themselves; nil for as many as there are.
    func holdRoom(lettingPass bytes: UInt64?) {
        // It fails in a damaged store only, where every create does.
        _ = ray_node_room_hold(handle, bytes ?? UInt64.max)
    }

    /// Keeps a free piece of so many bytes for what comes back from outside; 0 for none.
    func keepRoom(_ bytes: UInt64) {
        // It fails in a damaged store only, where every create does.
        _ = ray_node_room_keep(handle, bytes)
    }

    /// What the objects of a job take. Looks at the whole table.
    func memoryBytes(of job: JobID) throws(RayStoreError) -> UInt64 {
        var sum: UInt64 = 0
        var cursor: UInt64 = 0
        var batch = [ray_object_info](repeating: ray_object_info(), count: 256)
        while true {
            var count: UInt32 = 0
            try RayStoreError.check { ray_store_list(handle, &cursor, &batch, UInt32(batch.count), &count).rawValue }
            if count == 0 { return sum }
            for info in batch.prefix(Int(count)) where info.memory_bytes != 0 && ObjectID(c: info.id).job == job {
                sum += info.memory_bytes
            }
        }
    }
}
