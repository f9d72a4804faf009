// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreNode
import Testing

@testable import RayStoreCluster

extension OverLoopback {
    /// The control store over loopback gRPC: does all that the embedded one does, and fails in words.
    @Suite struct RemoteControlStoreTests {
        @Test func everyCallReachesTheHead() async throws {
            let head = try await Head.start()
            let store = head.client()
            let node = try await store.join(describe())
            #expect(node.number == 1)
            #expect(try await store.heartbeat(node.id))
            #expect(try await store.heartbeat(.random()) == false)
            #expect(try await store.nodes() == [node])
            let job = try await store.beginJob(driverNode: node.id, namespace: "größe")
            #expect(job == JobRecord(job: JobID(rawValue: 1), driverNode: node.id, namespace: "größe", isRunning: true))
            #expect(try await store.job(job.job) == job)
            #expect(try await store.job(JobID(rawValue: 9)) == nil)
            try await store.bind("a name", in: job.namespace, to: object(1))
            #expect(try await store.find("a name", in: job.namespace) == object(1))
            #expect(try await store.names(in: nil) == [NameRecord(name: "a name", namespace: "größe", object: object(1))])
            #expect(try await store.unbind("a name", in: job.namespace) == object(1))
            try await store.bind("b", in: "x", to: object(2))
            try await store.unbindAll(of: object(2))
            #expect(try await store.names(in: "x") == [])
            try await store.endJob(job.job)
            #expect(try await store.job(job.job)?.isRunning == false)
            try await store.leave(node.id)
            #expect(try await store.nodes() == [])
            #expect(head.server.connections.proved == 1)
            await store.close()
            await head.stop()
        }

        @Test func aFailureArrivesWhole() async throws {
            let head = try await Head.start()
            let store = head.client()
            try await store.bind("n", in: "x", to: object(1))
            let here = await expectFailure(.nameInUse) { try await head.store.bind("n", in: "x", to: object(2)) }
            let there = await expectFailure(.nameInUse) { try await store.bind("n", in: "x", to: object(2)) }
            #expect(here != nil && here == there)
            await store.close()
            await head.stop()
        }

        @Test func anotherVersionIsNamedWithOurs() async throws {
            let head = try await Head.start()
            let store = head.client()
            var node = describe()
            node.libraryVersion = "7.3.1"
            let error = await expectFailure(.versionMismatch) { try await store.join(node) }
            #expect(error?.message.contains("7.3.1") == true && error?.message.contains(version) == true)
            await store.close()
            await head.stop()
        }

        @Test func eventsBeginWithTheLivingAndGoOn() async throws {
            let head = try await Head.start()
            let store = head.client()
            let first = try await store.join(describe())
            let listener = await Listener(store.events())
            await eventually("the first node is told") { await listener.seen == [.nodeJoined(first)] }
            let second = try await store.join(describe())
            let job = try await store.beginJob(driverNode: second.id, namespace: nil)
            try await store.leave(second.id)
            await eventually("all is told in order") {
                await listener.seen == [.nodeJoined(first), .nodeJoined(second), .nodeGone(second.id), .jobEnded(job.job)]
            }
            await store.close()
            await eventually("the stream ends with the store") { await listener.hasEnded }
            await eventually("the head forgets the listener") { head.store.subscriberCount == 0 }
            await head.stop()
        }

        @Test func aListenerThatLeavesIsForgottenByTheHead() async throws {
            let head = try await Head.start()
            let store = head.client()
            let listener = await Listener(store.events())
            await eventually("the head knows the listener") { head.store.subscriberCount == 1 }
            await listener.stop()
            await eventually("the head forgets the listener") { head.store.subscriberCount == 0 }
            await store.close()
            await head.stop()
        }

        @Test func afterAHeadRestartEventsBeginAgainAndTellWhoWentMeanwhile() async throws {
            try await withTemporaryDirectory { directory in
                let path = directory + "/control.sqlite"
                let old = try await Head.start(path: path)
                let store = old.client()
                let stays = try await store.join(describe())
                let leaves = try await store.join(describe())
                let listener = await Listener(store.events())
                await eventually("both are told") { await listener.seen == [.nodeJoined(stays), .nodeJoined(leaves)] }
                await old.stop()
                await expectFailure(.unreachable) { try await store.heartbeat(stays.id) }

                // Leaves while nobody can hear of it.
                let between = try await EmbeddedControlStore.open(path: path, ownNode: nil)
                try await between.leave(leaves.id)
                await between.close()

                let new = try await Head.start(path: path, port: old.server.port, key: old.key)
                await eventually("the stream began again") {
                    await listener.seen.dropFirst(2) == [.nodeGone(leaves.id), .nodeJoined(stays)]
                }
                #expect(try await store.heartbeat(stays.id))
                let other = try await store.join(describe())
                #expect(other.number == 3)
                await eventually("and goes on") { await listener.seen.last == .nodeJoined(other) }
                await store.close()
                await new.stop()
            }
        }

        /// A head closes its store before its port; what its listeners and callers see in between is a head that may come back.
        @Test func aHeadOnItsWayDownIsUnreachableAndEndsNoStream() async throws {
            let head = try await Head.start()
            let store = head.client()
            let node = try await store.join(describe())
            let listener = await Listener(store.events())
            await eventually("the stream began") { await listener.seen == [.nodeJoined(node)] }
            await head.store.close()
            for _ in 0..<20 {
                await expectFailure(.unreachable) { try await store.heartbeat(node.id) }
                await expectFailure(.unreachable) { try await store.nodes() }
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(await !listener.hasEnded)
            await store.close()
            await eventually("the stream ends with the store") { await listener.hasEnded }
            await head.stop()
        }

        @Test func aHeadThatIsNotThereIsNamed() async throws {
            let head = try await Head.start()
            let store = head.client()
            await head.stop()
            let began = ContinuousClock.now
            let error = await expectFailure(.unreachable) { try await store.nodes() }
            #expect(error?.message.contains(head.place.description) == true)
            #expect(ContinuousClock.now - began < .seconds(10))
            await store.close()
            await expectFailure(.closed) { try await store.nodes() }
        }

        @Test func aNodeThatIsNoHeadSaysSo() async throws {
            let key = ClusterKey.random()
            let server = try await ControlServer.start(host: "127.0.0.1", port: 0, key: key)
            let store = RemoteControlStore(head: HostPort(host: "localhost", port: server.port), key: key)
            let error = await expectFailure(.protocolError) { try await store.nodes() }
            #expect(error?.message.contains("head") == true)
            await store.close()
            await server.stop()
        }

        @Test func aPortInUseIsNamed() async throws {
            let head = try await Head.start()
            let error = await expectFailure(.addressInUse) { try await Head.start(port: head.server.port) }
            #expect(error?.message.contains(head.place.description) == true)
            #expect(error?.systemErrno != nil)
            await head.stop()
        }

        @Test func anAddressOfAnotherMachineIsRefused() async throws {
            await expectFailure(.invalidArgument) { try await ControlServer.start(host: "192.0.2.1", port: 0, key: .random()) }
            await expectFailure(.invalidArgument) { try await ControlServer.start(host: "some.host", port: 0, key: .random()) }
        }
    }
}
