// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// How much of the store one client, or one job, may have when memory is short. While there is room for all nobody is counted.
struct RoomQuota: Sendable {
    var client: UInt64?
    var job: UInt64?

    var isSet: Bool { client != nil || job != nil }

    /// Looks at the whole table.
    ///
    /// - Parameter waiting: what the same client, and the same job, wait for already.
    /// - Throws: `storeFull` naming the quota.
    func check(
        _ request: RoomRequest, waiting: (ofClient: UInt64, ofJob: UInt64), in store: NodeStore
    ) throws(RayStoreError) {
        guard let slot = request.client else { return }
        if let client {
            let row = try store.clients().first { $0.slot == slot.number && $0.serial == slot.serial }
            let used = row?.created_bytes ?? 0
            if Self.exceeds(client, used, waiting.ofClient, request.bytes) {
                throw Self.error(
                    request,
                    "its client, process \(row?.pid ?? 0), has \(used) bytes of objects in memory and waits for \(waiting.ofClient)",
                    "a client's quota is \(client)")
            }
        }
        if let job {
            let used = try store.memoryBytes(of: request.id.job)
            if Self.exceeds(job, used, waiting.ofJob, request.bytes) {
                throw Self.error(
                    request, "its job \(request.id.job) has \(used) bytes of objects in memory and waits for \(waiting.ofJob)",
                    "a job's quota is \(job)")
            }
        }
    }

    private static func exceeds(_ quota: UInt64, _ amounts: UInt64...) -> Bool {
        var sum: UInt64 = 0
        for amount in amounts {
            let (next, overflow) = sum.addingReportingOverflow(amount)
            if overflow || next > quota { return true }
            sum = next
        }
        return false
    }

    private static func error(_ request: RoomRequest, _ has: String, _ quota: String) -> RayStoreError {
        RayStoreError(
            .storeFull,
            "the store is full, and object \(request.id) needs \(request.bytes) bytes: \(has); \(quota) when memory is short. "
                + "Free objects first, or start the node with a larger quota or more memory",
            object: request.id)
    }
}
