// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Testing

@Suite struct EmbeddedControlStoreTests {
    private func inMemory() async throws -> (EmbeddedControlStore, NodeDescription) {
        let store = try await EmbeddedControlStore.open(path: nil, ownNode: nil, clock: ManualClock())
        return (store, try await store.join(describe()))
    }

    @Test func numbersAreNotGivenTwiceAcrossARestart() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/control.sqlite"
            let nodeID = NodeID.random()
            let first = try await EmbeddedControlStore.open(path: path, ownNode: nil)
            let node = try await first.join(describe(nodeID))
            #expect(node.number == 1)
            let job = try await first.beginJob(driverNode: nodeID, namespace: nil)
            #expect(job.job == JobID(rawValue: 1))
            try await first.endJob(job.job)
            try await first.leave(nodeID)
            await first.close()

            let second = try await EmbeddedControlStore.open(path: path, ownNode: nil)
            let other = try await second.join(describe())
            #expect(other.number == 2)
            #expect(try await second.join(describe(nodeID)).number == 1)
            #expect(try await second.beginJob(driverNode: other.id, namespace: nil).job == JobID(rawValue: 2))
            await second.close()
        }
    }

    @Test func endedJobsAreKept() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/control.sqlite"
            let first = try await EmbeddedControlStore.open(path: path, ownNode: nil)
            let node = try await first.join(describe())
            let job = try await first.beginJob(driverNode: node.id, namespace: "a")
            try await first.endJob(job.job)
            await first.close()
            let second = try await EmbeddedControlStore.open(path: path, ownNode: nil)
            #expect(
                try await second.job(job.job)
                    == JobRecord(job: job.job, driverNode: node.id, namespace: "a", isRunning: false))
            #expect(try await second.job(JobID(rawValue: 99)) == nil)
            await second.close()
        }
    }

    @Test func aJobThatIsEndedTwiceIsEndedOnce() async throws {
        let (store, node) = try await inMemory()
        let job = try await store.beginJob(driverNode: node.id, namespace: nil)
        var events = store.events().makeAsyncIterator()
        try await store.endJob(job.job)
        try await store.endJob(job.job)
        try await store.leave(node.id)
        #expect(await events.next() == .nodeJoined(node))
        #expect(await events.next() == .jobEnded(job.job))
        #expect(await events.next() == .nodeGone(node.id))
        await expectFailure(.notFound) { try await store.endJob(JobID(rawValue: 99)) }
    }

    @Test func aJobWithoutANamespaceHasItsOwn() async throws {
        let (store, node) = try await inMemory()
        let job = try await store.beginJob(driverNode: node.id, namespace: nil)
        #expect(job.namespace == "job-\(job.job)")
        await expectFailure(.invalidArgument) { try await store.beginJob(driverNode: node.id, namespace: "job-1") }
        #expect(try await store.beginJob(driverNode: node.id, namespace: "job-x").namespace == "job-x")
    }

    @Test func aJobOfAStrangerIsRefused() async throws {
        let (store, _) = try await inMemory()
        await expectFailure(.nodeDied) { try await store.beginJob(driverNode: .random(), namespace: nil) }
    }

    @Test func namesOfDifferentNamespacesAreApart() async throws {
        let (store, _) = try await inMemory()
        try await store.bind("weights", in: "a", to: object(1))
        try await store.bind("weights", in: "b", to: object(2))
        #expect(try await store.find("weights", in: "a") == object(1))
        #expect(try await store.find("weights", in: "b") == object(2))
        #expect(try await store.unbind("weights", in: "a") == object(1))
        await expectFailure(.nameUnknown) { try await store.find("weights", in: "a") }
        await expectFailure(.nameUnknown) { try await store.unbind("weights", in: "a") }
        #expect(try await store.find("weights", in: "b") == object(2))
    }

    @Test func aNameInUseIsRefusedForAnotherObjectOnly() async throws {
        let (store, _) = try await inMemory()
        try await store.bind("n", in: "a", to: object(1))
        try await store.bind("n", in: "a", to: object(1))
        let error = await expectFailure(.nameInUse) { try await store.bind("n", in: "a", to: object(2)) }
        #expect(error?.message.contains("'n'") == true)
        #expect(try await store.find("n", in: "a") == object(1))
    }

    @Test func unbindAllTakesEveryNameOfTheObjectAndNoOther() async throws {
        let (store, _) = try await inMemory()
        try await store.bind("x", in: "a", to: object(1))
        try await store.bind("y", in: "b", to: object(1))
        try await store.bind("z", in: "b", to: object(2))
        try await store.unbindAll(of: object(1))
        try await store.unbindAll(of: object(1))
        #expect(try await store.names(in: nil) == [NameRecord(name: "z", namespace: "b", object: object(2))])
        #expect(try await store.names(in: "a") == [])
        #expect(try await store.names(in: "b").map(\.name) == ["z"])
    }

    @Test(arguments: ["a", "mit Leerzeichen", "größe-模型", String(repeating: "n", count: 128), String(repeating: "é", count: 64)])
    func aGoodNameIsTaken(_ name: String) async throws {
        let (store, _) = try await inMemory()
        try await store.bind(name, in: "a", to: object(1))
        #expect(try await store.find(name, in: "a") == object(1))
        #expect(try await store.names(in: "a").map(\.name) == [name])
    }

    @Test(arguments: [
        "", String(repeating: "n", count: 129), String(repeating: "é", count: 65), "a\nb", "\u{0}", "a\u{7f}", "a\u{85}b",
    ])
    func aBadNameIsRefused(_ name: String) async throws {
        let (store, _) = try await inMemory()
        await expectFailure(.invalidArgument) { try await store.bind(name, in: "a", to: object(1)) }
        #expect(try await store.names(in: nil).isEmpty)
    }

    @Test func twoHeadsCannotShareAFile() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/control.sqlite"
            let first = try await EmbeddedControlStore.open(path: path, ownNode: nil)
            let error = await expectFailure(.inUse) { _ = try await EmbeddedControlStore.open(path: path, ownNode: nil) }
            #expect(error?.message.contains(path) == true)
            await first.close()
            await (try EmbeddedControlStore.open(path: path, ownNode: nil)).close()
        }
    }

    @Test func aFileThatIsNoDatabaseIsRefused() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/control.sqlite"
            try Data(repeating: 0x41, count: 8192).write(to: URL(fileURLWithPath: path))
            let error = await expectFailure(.corrupt) { _ = try await EmbeddedControlStore.open(path: path, ownNode: nil) }
            #expect(error?.message.contains(path) == true)
        }
    }

    @Test func aClosedStoreSaysSo() async throws {
        let (store, node) = try await inMemory()
        let events = store.events()
        await store.close()
        await expectFailure(.closed) { try await store.heartbeat(node.id) }
        await expectFailure(.closed) { try await store.names(in: nil) }
        var seen: [ClusterEvent] = []
        for await event in events { seen.append(event) }
        #expect(seen == [.nodeJoined(node)])
        for await _ in store.events() { Issue.record("a closed store has no events") }
    }

    @Test func anotherVersionIsRefusedWithBothNamed() async throws {
        let store = try await EmbeddedControlStore.open(path: nil, ownNode: nil, libraryVersion: "9.4.1")
        let error = await expectFailure(.versionMismatch) { try await store.join(describe()) }
        #expect(error?.message.contains("9.4.1") == true)
        #expect(error?.message.contains(describe().libraryVersion) == true)
        var near = describe()
        near.libraryVersion = "9.4.7"
        #expect(try await store.join(near).number == 1)
    }
}
