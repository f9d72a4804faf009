// SPDX-License-Identifier: Apache-2.0
internal import Metrics
internal import RayStore
internal import Synchronization

/// What the node reports through swift-metrics: to the program's bootstrapped system, or to a factory that it was given.
///
/// Every metric is named `raystore_...` and carries the node's short id as `node`. Gauges and the totals of the C engine are sampled, a total
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
    init(node: NodeID, factory: (any MetricsFactory)?) {
        let factory = factory ?? MetricsSystem.factory
        let dimensions = [("node", node.short)]
        func level(_ name: String, _ read: @escaping @Sendable (NodeSample) -> Double) -> Level {
            Level(gauge: Gauge(label: "raystore_" + name, dimensions: dimensions, factory: factory), read: read)
        }
        func total(_ name: String, _ read: @escaping @Sendable (NodeSample) -> UInt64) -> Total {
            Total(counter: Counter(label: "raystore_" + name, dimensions: dimensions, factory: factory), read: read)
        }
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
            level("disk_waiting_files") { Double($0.node.disk?.waitingCount ?? 0) },
            level("clients") { Double($0.node.clientCount) },
            level("transfers") { Double($0.pullCount) },
            level("objects_owned") { Double($0.ownedCount) },
            level("objects_borrowed") { Double($0.borrowedCount) },
        ]
        totals = [
            total("sent_bytes_total") { $0.node.sentBytes },
            total("sent_wire_bytes_total") { $0.node.sentWireBytes },
            total("received_bytes_total") { $0.node.receivedBytes },
            total("received_wire_bytes_total") { $0.node.receivedWireBytes },
            total("files_dropped_total") { $0.node.disk?.droppedFileCount ?? 0 },
            total("file_bytes_dropped_total") { $0.node.disk?.droppedFileBytes ?? 0 },
            total("clients_reaped_total") { $0.reapedClientCount },
        ]
        pullDuration = Timer(label: "raystore_pull_duration", dimensions: dimensions, factory: factory)
        state = Mutex(State(reported: Array(repeating: 0, count: totals.count)))
    }

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
