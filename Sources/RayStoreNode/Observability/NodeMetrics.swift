// SPDX-License-Identifier: Apache-2.0
internal import Metrics
internal import RayStore
internal import Synchronization

/// What the node reports through swift-metrics: to the program's bootstrapped system, or to a factory that it was given.
///
/// Every metric is named `raystore_...` and carries the node's short id as `node`, what is about spilling also the kind of storage as `storage`. Gauges and the totals of the C engine are sampled, a total
/// as its difference to the sample before; pulls are reported as they end.
final class NodeMetrics: Sendable {
    private struct Level {
        let gauge: Gauge
        let read: @Sendable (NodeSample) -> Double
    }

    private struct Total {
        let counter: Counter
        let read: @Sendable (NodeSample) -> UInt64
    }

    private struct State {
        /// Of each total, what was reported so far.
        var reported: [UInt64]
        var failures: [RayStoreError.Code: Counter] = [:]
    }

    /// False when nobody listens; sampling would be for nothing.
    let isActive: Bool
    private let factory: any MetricsFactory
    private let dimensions: [(String, String)]
    private let levels: [Level]
    private let totals: [Total]
    private let pullDuration: Timer
    private let state: Mutex<State>

    /// - Parameter factory: nil for the one that the program has bootstrapped before it starts the node.
    init(node: NodeID, storage: String, factory: (any MetricsFactory)?) {
        let factory = factory ?? MetricsSystem.factory
        let dimensions = [("node", node.short)]
        func level(
            _ name: String, of more: [(String, String)] = [], _ read: @escaping @Sendable (NodeSample) -> Double
        ) -> Level {
            Level(gauge: Gauge(label: "raystore_" + name, dimensions: dimensions + more, factory: factory), read: read)
        }
        func total(
            _ name: String, of more: [(String, String)] = [], _ read: @escaping @Sendable (NodeSample) -> UInt64
        ) -> Total {
            Total(counter: Counter(label: "raystore_" + name, dimensions: dimensions + more, factory: factory), read: read)
        }
        let spilling = [("storage", storage)]
        self.factory = factory
        self.dimensions = dimensions
        isActive = !(factory is NOOPMetricsHandler)
        levels = [
            level("store_objects") { Double($0.node.objectCount) },
            level("store_used_bytes") { Double($0.node.usedBytes) },
            level("store_capacity_bytes") { Double($0.node.capacityBytes) },
            level("store_pinned_bytes") { Double($0.node.pinnedBytes) },
            level("files") { Double($0.node.fileCount) },
            level("file_bytes") { Double($0.node.fileBytes) },
            level("disk_free_bytes") { Double($0.node.disk?.freeBytes ?? 0) },
            level("disk_kept_bytes") { Double($0.node.disk?.keptBytes ?? 0) },
            level("files_moved") { Double($0.node.disk?.movedFileCount ?? 0) },
            level("file_bytes_moved") { Double($0.node.disk?.movedFileBytes ?? 0) },
            level("disk_waiting_files") { Double($0.node.disk?.waitingCount ?? 0) },
            level("clients") { Double($0.node.clientCount) },
            level("transfers") { Double($0.pullCount) },
            level("sums_pending") { Double($0.node.sums?.pendingCount ?? 0) },
            level("sums_pending_bytes") { Double($0.node.sums?.pendingBytes ?? 0) },
            level("objects_owned") { Double($0.ownedCount) },
            level("objects_borrowed") { Double($0.borrowedCount) },
            level("spill_stored_objects", of: spilling) { Double($0.node.spill?.recordCount ?? 0) },
            level("spill_stored_bytes", of: spilling) { Double($0.node.spill?.recordBytes ?? 0) },
            level("spill_own_bytes", of: spilling) { Double($0.node.spill?.recordOwnBytes ?? 0) },
            level("spill_files", of: spilling) { Double($0.node.spill?.fileCount ?? 0) },
            level("spill_file_bytes", of: spilling) { Double($0.node.spill?.fileBytes ?? 0) },
        ]
        totals = [
            total("sent_bytes_total") { $0.node.sentBytes },
            total("sent_wire_bytes_total") { $0.node.sentWireBytes },
            total("received_bytes_total") { $0.node.receivedBytes },
            total("received_wire_bytes_total") { $0.node.receivedWireBytes },
            total("hashed_bytes_total") { $0.node.sums?.hashedBytes ?? 0 },
            total("hashed_ahead_bytes_total") { $0.node.sums?.aheadBytes ?? 0 },
            total("hashed_by_clients_bytes_total") { $0.node.sums?.givenBytes ?? 0 },
            total("sendfile_bytes_total") { $0.node.sums?.sendfileBytes ?? 0 },
            total("files_dropped_total") { $0.node.disk?.droppedFileCount ?? 0 },
            total("file_bytes_dropped_total") { $0.node.disk?.droppedFileBytes ?? 0 },
            total("file_moves_total") { $0.node.disk?.moves ?? 0 },
            total("file_returns_total") { $0.node.disk?.returns ?? 0 },
            total("clients_reaped_total") { $0.reapedClientCount },
            total("spilled_objects_total", of: spilling) { $0.node.spill?.spilledObjects ?? 0 },
            total("spilled_bytes_total", of: spilling) { $0.node.spill?.spilledBytes ?? 0 },
            total("spilled_own_bytes_total", of: spilling) { $0.node.spill?.spilledOwnBytes ?? 0 },
            total("spill_busy_milliseconds_total", of: spilling) { Self.milliseconds($0.node.spill?.spillSeconds) },
            total("spills_failed_total", of: spilling) { $0.node.spill?.failedSpills ?? 0 },
            total("restored_objects_total", of: spilling) { $0.node.spill?.restoredObjects ?? 0 },
            total("restored_bytes_total", of: spilling) { $0.node.spill?.restoredBytes ?? 0 },
            total("restore_busy_milliseconds_total", of: spilling) { Self.milliseconds($0.node.spill?.restoreSeconds) },
            total("read_ahead_objects_total", of: spilling) { $0.node.spill?.readAheadObjects ?? 0 },
            total("read_ahead_bytes_total", of: spilling) { $0.node.spill?.readAheadBytes ?? 0 },
            total("read_ahead_used_objects_total", of: spilling) { $0.node.spill?.readAheadUsedObjects ?? 0 },
            total("spill_records_damaged_total", of: spilling) { $0.node.spill?.damagedRecords ?? 0 },
            total("evicted_objects_total", of: spilling) { $0.node.spill?.evictedObjects ?? 0 },
            total("evicted_bytes_total", of: spilling) { $0.node.spill?.evictedBytes ?? 0 },
        ]
        pullDuration = Timer(label: "raystore_pull_duration", dimensions: dimensions, factory: factory)
        state = Mutex(State(reported: Array(repeating: 0, count: totals.count)))
    }

    private static func milliseconds(_ seconds: Double?) -> UInt64 { UInt64((seconds ?? 0) * 1000) }

    func record(_ sample: NodeSample) {
        for level in levels { level.gauge.record(level.read(sample)) }
        state.withLock { state in
            for (index, total) in totals.enumerated() {
                let now = total.read(sample)
                // A total that was read before another sample's was reported does not count backwards.
                guard now > state.reported[index] else { continue }
                total.counter.increment(by: Int64(clamping: now - state.reported[index]))
                state.reported[index] = now
            }
        }
    }

    /// A pull is over: nil when it brought its object.
    func pullEnded(_ error: RayStoreError?, after duration: Duration) {
        guard let error else {
            let (seconds, attoseconds) = duration.components
            pullDuration.recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
            return
        }
        let counter = state.withLock { state in
            if let counter = state.failures[error.code] { return counter }
            let counter = Counter(
                label: "raystore_pulls_failed_total", dimensions: dimensions + [("code", error.code.name)], factory: factory)
            state.failures[error.code] = counter
            return counter
        }
        counter.increment()
    }

    /// Takes the node's metrics out of the factory: a node that is gone has no level.
    func end() {
        for level in levels { level.gauge.destroy() }
        for total in totals { total.counter.destroy() }
        pullDuration.destroy()
        for counter in state.withLock({ Array($0.failures.values) }) { counter.destroy() }
    }
}
