// SPDX-License-Identifier: Apache-2.0
import Metrics
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// What a node reports to a metrics factory.
@Suite struct NodeMetricsTests {
    @Test func aPullIsSeenAtBothEndsWithTheBytesItMoved() async throws {
        let (there, here) = (RecordingFactory(), RecordingFactory())
        let cluster = try await LocalCluster()
        let source = try await cluster.addNode(metrics: there) { $0.metricsEvery = .milliseconds(20) }
        let target = try await cluster.addNode(capacity: 32 << 20, metrics: here) { $0.metricsEvery = .milliseconds(20) }
        let giver = try await Session.connect(socket: source.socketPath)
        let taker = try await Session.connect(socket: target.socketPath)
        let size = 9 << 20
        let ref = try giver.put(bytes: pattern(size))
        let opened = try await taker.open(ref.shared())
        #expect(try await Array(taker.get(opened)) == pattern(size))
        #expect(await eventually { here["raystore_received_bytes_total"] == Double(size) })
        #expect(await eventually { there["raystore_sent_bytes_total"] == Double(size) })
        #expect(await eventually { (there["raystore_sent_wire_bytes_total"] ?? 0) > 0 })
        #expect(await eventually { here["raystore_received_wire_bytes_total"] == there["raystore_sent_wire_bytes_total"] })
        #expect(await eventually { here["raystore_store_objects"] == 1 && here["raystore_objects_borrowed"] == 1 })
        #expect(await eventually { there["raystore_objects_owned"] == 1 && there["raystore_clients"] == 1 })
        #expect((here["raystore_store_used_bytes"] ?? 0) >= Double(size))
        #expect(here["raystore_store_capacity_bytes"] == Double(32 << 20))
        #expect(here["raystore_transfers"] == 0)
        #expect(here["raystore_pull_duration"] == 1)
        #expect(there["raystore_pull_duration"] == nil)
        #expect(here.dimensions(of: "raystore_clients") == ["node=\(target.description.id.short)"])
        await taker.close()
        #expect(await eventually { here["raystore_clients_reaped_total"] == 1 && here["raystore_clients"] == 0 })
        await giver.close()
        await cluster.stop()
    }

    @Test func aPullThatFailsIsCountedUnderItsCode() async throws {
        let factory = RecordingFactory()
        let cluster = try await LocalCluster()
        let source = try await cluster.addNode()
        let target = try await cluster.addNode(capacity: 16 << 20, metrics: factory)
        let giver = try await Session.connect(socket: source.socketPath)
        let taker = try await Session.connect(socket: target.socketPath)
        let opened = try await taker.open(giver.put(bytes: pattern(24 << 20)).shared())
        #expect(await failure { _ = try await taker.get(opened) }?.code == .storeFull)
        #expect((factory["raystore_pulls_failed_total"] ?? 0) >= 1)
        #expect(
            factory.dimensions(of: "raystore_pulls_failed_total").contains("code=\(RayStoreError.Code.storeFull.name)"))
        await giver.close()
        await taker.close()
        await cluster.stop()
    }

    @Test func aStoppedNodeTakesItsMetricsAlong() async throws {
        let factory = RecordingFactory()
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(metrics: factory)
        #expect(factory.liveCount > 0)
        await node.stop()
        #expect(factory.liveCount == 0)
        await cluster.stop()
    }
}

/// A factory that remembers the last value of a gauge, the sum of a counter, and how often a timer recorded.
private final class RecordingFactory: MetricsFactory {
    private struct State {
        var values: [String: Double] = [:]
        var dimensions: [String: [String]] = [:]
        var liveCount = 0
    }

    private let state = Mutex(State())

    subscript(label: String) -> Double? { state.withLock { $0.values[label] } }
    var liveCount: Int { state.withLock { $0.liveCount } }
    func dimensions(of label: String) -> [String] { state.withLock { $0.dimensions[label] ?? [] } }

    private func make(_ label: String, _ dimensions: [(String, String)]) -> Handler {
        state.withLock {
            $0.dimensions[label] = dimensions.map { "\($0.0)=\($0.1)" }
            $0.liveCount += 1
        }
        return Handler(label: label, factory: self)
    }

    fileprivate func change(_ label: String, _ body: (inout Double?) -> Void) {
        state.withLock { body(&$0.values[label]) }
    }

    private func drop() { state.withLock { $0.liveCount -= 1 } }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { make(label, dimensions) }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        make(label, dimensions)
    }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { make(label, dimensions) }
    func destroyCounter(_ handler: any CounterHandler) { drop() }
    func destroyRecorder(_ handler: any RecorderHandler) { drop() }
    func destroyTimer(_ handler: any TimerHandler) { drop() }

    private final class Handler: CounterHandler, RecorderHandler, TimerHandler {
        private let label: String
        private let factory: RecordingFactory

        init(label: String, factory: RecordingFactory) {
            self.label = label
            self.factory = factory
        }

        func increment(by amount: Int64) { factory.change(label) { $0 = ($0 ?? 0) + Double(amount) } }
        func reset() { factory.change(label) { $0 = 0 } }
        func record(_ value: Int64) { factory.change(label) { $0 = Double(value) } }
        func record(_ value: Double) { factory.change(label) { $0 = value } }
        func recordNanoseconds(_ duration: Int64) { factory.change(label) { $0 = ($0 ?? 0) + 1 } }
    }
}
