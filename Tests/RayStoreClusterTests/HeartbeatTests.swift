// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreNode
import Synchronization
import Testing

@testable import RayStoreCluster

extension OverLoopback {
    /// Life and death in real time, over loopback.
    @Suite struct HeartbeatTests {
        @Test func aNodeThatFallsSilentIsNoticedInAboutTwoSeconds() async throws {
            let head = try await Head.start(patience: .seconds(2))
            let (livingStore, dyingStore) = (head.client(), head.client())
            let living = try await livingStore.join(describe())
            let dying = try await dyingStore.join(describe())
            let beats = [(living, livingStore), (dying, dyingStore)].map { node, store in
                HeartbeatSender(node.id, to: store, every: .milliseconds(100)) {}
            }
            let job = try await dyingStore.beginJob(driverNode: dying.id, namespace: nil)
            let listener = await Listener(livingStore.events())
            // Longer than silence is allowed to last.
            try await Task.sleep(for: .milliseconds(2500))
            #expect(try await head.store.nodes() == [living, dying])

            await beats[1].stop()
            await dyingStore.close()
            let died = ContinuousClock.now
            await eventually("the death is told") { await listener.seen.contains(.nodeGone(dying.id)) }
            let took = ContinuousClock.now - died
            #expect(took > .seconds(1), "\(took)")
            await eventually("its job ends") { await listener.seen.last == .jobEnded(job.job) }
            #expect(try await head.store.nodes() == [living])
            await beats[0].stop()
            await livingStore.close()
            await head.stop()
        }

        @Test func aNodeThatWasGivenUpHearsOfItAndJoinsAgain() async throws {
            let head = try await Head.start()
            let store = head.client()
            let node = try await store.join(describe())
            let rejoined = Mutex(0)
            let beat = HeartbeatSender(node.id, to: store, every: .milliseconds(50)) {
                rejoined.withLock { $0 += 1 }
                _ = try? await store.join(node)
            }
            try await head.store.leave(node.id)
            try await eventually("it is back") { try await head.store.nodes() == [node] }
            #expect(rejoined.withLock { $0 } == 1)
            await beat.stop()
            await store.close()
            await head.stop()
        }

        @Test func heartbeatsOutliveARestartOfTheHead() async throws {
            try await withTemporaryDirectory { directory in
                let path = directory + "/control.sqlite"
                let old = try await Head.start(path: path, patience: .seconds(1))
                let store = old.client()
                let node = try await store.join(describe())
                let job = try await store.beginJob(driverNode: node.id, namespace: nil)
                let rejoined = Mutex(0)
                let beat = HeartbeatSender(node.id, to: store, every: .milliseconds(100)) { rejoined.withLock { $0 += 1 } }
                await old.stop()
                let new = try await Head.start(path: path, port: old.server.port, key: old.key, patience: .seconds(1))
                try await Task.sleep(for: .seconds(3))
                #expect(try await new.store.nodes() == [node])
                #expect(try await new.store.job(job.job)?.isRunning == true)
                #expect(rejoined.withLock { $0 } == 0)
                await beat.stop()
                await store.close()
                await new.stop()
            }
        }
    }
}
