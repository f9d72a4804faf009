// SPDX-License-Identifier: Apache-2.0
import Metrics
import RayStore
import RayStoreNode
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
