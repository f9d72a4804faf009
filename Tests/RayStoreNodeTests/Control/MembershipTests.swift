// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Who lives and who is given up, on a clock that the tests move.
@Suite struct MembershipTests {
    private let clock = ManualClock()

    private func store(path: String? = nil, ownNode: NodeID? = nil) async throws -> EmbeddedControlStore {
        try await EmbeddedControlStore.open(path: path, ownNode: ownNode, clock: clock)
    }

    /// Lets time pass in steps as small as the store's own looks.
    private func pass(_ duration: Duration, _ store: EmbeddedControlStore) async {
        for _ in 0..<Int(duration / .milliseconds(100)) {
            clock.advance(by: .milliseconds(100))
            await store.look()
        }
    }

    @Test func aSilentNodeIsGivenUpAfterTwoSecondsAndItsJobsEnd() async throws {
        let store = try await store()
        let silent = try await store.join(describe())
        let other = try await store.join(describe())
        let job = try await store.beginJob(driverNode: silent.id, namespace: nil)
        let otherJob = try await store.beginJob(driverNode: other.id, namespace: nil)
        var events = store.events().makeAsyncIterator()
        for _ in 0..<19 {
            await pass(.milliseconds(100), store)
            #expect(try await store.heartbeat(other.id))
        }
        #expect(try await store.nodes() == [silent, other])
        await pass(.milliseconds(100), store)
        #expect(try await store.nodes() == [other])
        #expect(try await store.job(job.job)?.isRunning == false)
        #expect(try await store.job(otherJob.job)?.isRunning == true)
        var seen: [ClusterEvent] = []
        for _ in 0..<4 { seen.append(await events.next()!) }
        #expect(seen == [.nodeJoined(silent), .nodeJoined(other), .nodeGone(silent.id), .jobEnded(job.job)])
    }

    @Test func aNodeThatWasGivenUpMustJoinAgainAndKeepsItsNumber() async throws {
        let store = try await store()
        let node = try await store.join(describe())
        await pass(.seconds(2), store)
        #expect(try await store.heartbeat(node.id) == false)
        #expect(try await store.join(node) == node)
        #expect(try await store.heartbeat(node.id))
        #expect(try await store.heartbeat(.random()) == false)
    }

    @Test func aSilentNodeIsMissingForAnHourUnlessItComesBackOrLeaves() async throws {
        let store = try await store()
        var nodes: [NodeDescription] = []
        for _ in 0..<4 { nodes.append(try await store.join(describe())) }
        try await store.leave(nodes[0].id)
        #expect(try await store.missingNodes().isEmpty)
        await pass(.seconds(2), store)
        #expect(Set(try await store.missingNodes()) == Set(nodes[1...].map(\.id)))
        _ = try await store.join(nodes[1])
        try await store.leave(nodes[1].id)
        try await store.leave(nodes[2].id)
        #expect(try await store.missingNodes() == [nodes[3].id])
        clock.advance(by: .seconds(3599))
        #expect(try await store.missingNodes() == [nodes[3].id])
        clock.advance(by: .seconds(1))
        #expect(try await store.missingNodes().isEmpty)
    }

    /// A head does not know how long an earlier one had missed it.
    @Test func whoIsMissingStaysSoForAnHourOfTheNextHeadsLife() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = scratch.path + "/control.sqlite"
        var store = try await store(path: path)
        let node = try await store.join(describe())
        await pass(.seconds(2), store)
        clock.advance(by: .seconds(3000))
        await store.close()
        for step in 0..<2 {
            store = try await self.store(path: path)
            #expect(try await store.missingNodes() == [node.id])
            clock.advance(by: .seconds(3599))
            #expect(try await store.missingNodes() == [node.id])
            if step == 1 {
                clock.advance(by: .seconds(1))
                #expect(try await store.missingNodes().isEmpty)
            }
            await store.close()
        }
        store = try await self.store(path: path)
        #expect(try await store.missingNodes().isEmpty)
        await store.close()
    }

    @Test func theStoresOwnNodeNeverExpires() async throws {
        let own = NodeID.random()
        let store = try await store(ownNode: own)
        let node = try await store.join(describe(own))
        await pass(.seconds(10), store)
        #expect(try await store.nodes() == [node])
    }

    @Test func aNodeThatLeavesIsGoneAtOnce() async throws {
        let store = try await store()
        let node = try await store.join(describe())
        let job = try await store.beginJob(driverNode: node.id, namespace: nil)
        var events = store.events().makeAsyncIterator()
        try await store.leave(node.id)
        try await store.leave(node.id)
        #expect(try await store.nodes().isEmpty)
        #expect(await events.next() == .nodeJoined(node))
        #expect(await events.next() == .nodeGone(node.id))
        #expect(await events.next() == .jobEnded(job.job))
    }

    @Test func aStoreThatStoodStillBlamesNobody() async throws {
        let store = try await store()
        let node = try await store.join(describe())
        await pass(.milliseconds(500), store)
        clock.advance(by: .seconds(60))
        await store.look()
        #expect(try await store.nodes() == [node])
        await pass(.seconds(3), store)
        #expect(try await store.nodes().isEmpty)
    }

    @Test func everySubscriberHearsEverythingInOrder() async throws {
        let store = try await store()
        let streams = (0..<5).map { _ in store.events() }
        var expected: [ClusterEvent] = []
        for _ in 0..<50 {
            let node = try await store.join(describe())
            try await store.leave(node.id)
            expected += [.nodeJoined(node), .nodeGone(node.id)]
        }
        await store.close()
        for stream in streams {
            var seen: [ClusterEvent] = []
            for await event in stream { seen.append(event) }
            #expect(seen == expected)
        }
    }

    @Test func aSubscriberThatStopsListeningIsForgotten() async throws {
        let store = try await store()
        let listening = Task {
            for await _ in store.events() {}
        }
        while store.subscriberCount == 0 { await Task.yield() }
        listening.cancel()
        await listening.value
        #expect(store.subscriberCount == 0)
    }

    @Test func joiningAgainSaysNothingNewUnlessTheAddressChanged() async throws {
        let store = try await store()
        let node = try await store.join(describe())
        var events = store.events().makeAsyncIterator()
        #expect(try await store.join(node) == node)
        var moved = node
        moved.host = "127.0.0.2"
        #expect(try await store.join(moved) == moved)
        #expect(await events.next() == .nodeJoined(node))
        #expect(await events.next() == .nodeJoined(moved))
    }

    @Test func afterARestartNodesHaveTimeToComeBackAndTheOldHeadHasNone() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/control.sqlite"
            let oldHead = NodeID.random()
            let first = try await store(path: path, ownNode: oldHead)
            let head = try await first.join(describe(oldHead))
            let back = try await first.join(describe())
            let lost = try await first.join(describe())
            let headJob = try await first.beginJob(driverNode: head.id, namespace: nil)
            let backJob = try await first.beginJob(driverNode: back.id, namespace: nil)
            let lostJob = try await first.beginJob(driverNode: lost.id, namespace: nil)
            await first.close()

            let second = try await store(path: path, ownNode: .random())
            #expect(try await second.nodes() == [back, lost])
            #expect(try await second.job(headJob.job)?.isRunning == false)
            #expect(try await second.job(lostJob.job)?.isRunning == true)
            await pass(.milliseconds(4900), second)
            #expect(try await second.heartbeat(back.id))
            await pass(.milliseconds(100), second)
            #expect(try await second.nodes() == [back])
            #expect(try await second.job(backJob.job)?.isRunning == true)
            #expect(try await second.job(lostJob.job)?.isRunning == false)
            await second.close()
        }
    }
}
