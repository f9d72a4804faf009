// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Objects between nodes: who refers, who holds, and when everything goes.
@Suite struct OwnershipTests {
    private static let chunk = 4 << 20

    @Test(arguments: [0, 1, 100 << 10, (100 << 10) + 1, chunk - 1, chunk, chunk + 1])
    func anObjectReadOnAnotherNodeIsTheSame(size: Int) async throws {
        try await withNodes(2) { _, _, sessions in
            let ref = try sessions[0].put(bytes: pattern(size))
            let there = try await sessions[1].open(ref.shared())
            #expect(try await Array(sessions[1].get(there)) == pattern(size))
        }
    }

    @Test(arguments: [0, 1, chunk - 1, chunk, chunk + 1])
    func aFileReadOnAnotherNodeIsTheSame(size: Int) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withNodes(2) { cluster, nodes, sessions in
            let ref = try await sessions[0].put(RayFile(path: scratch.file("名 前.bin", size: size)))
            let there = try await sessions[1].open(ref.shared())
            let file = try await sessions[1].get(there)
            #expect(file.path.hasPrefix(cluster.stateDirectory(of: nodes[1])))
            #expect(file.name == "名 前.bin")
            #expect(try read(file.path) == pattern(size))
        }
    }

    @Test func atZeroReferencesEveryCopyGoesOnEveryNode() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withNodes(3) { cluster, _, sessions in
            var refs: [AnyObjectRef] = []
            var files: [RayFile] = []
            let object = try sessions[0].put(bytes: pattern(1 << 20))
            let file = try await sessions[0].put(RayFile(path: scratch.file("f", size: 1 << 20)))
            refs = [object, file]
            for session in sessions[1...] {
                let objectThere = try await session.open(object.shared())
                let fileThere = try await session.open(file.shared())
                _ = try await session.get(objectThere)
                files.append(try await session.get(fileThere))
                refs += [objectThere, fileThere]
            }
            #expect(try await sessions[0].census() == (6, 3))
            #expect(cluster.files().count == 3)
            #expect(refs.count == 6 && files.count == 2)
            refs = []
            files = []
        }
    }

    @Test func aRefDroppedByAllLeavesNothingWithinTwoSeconds() async throws {
        try await withNodes(2) { cluster, _, sessions in
            try await dropAll(sessions)
            #expect(try await eventually(within: .seconds(2)) { try await sessions[0].census() == (0, 0) })
            #expect(cluster.files().isEmpty)
        }
    }

    private func dropAll(_ sessions: [Session]) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let object = try sessions[0].put(bytes: pattern(1 << 20))
        let file = try await sessions[0].put(RayFile(path: scratch.file("f", size: 1 << 20)))
        let objectThere = try await sessions[1].open(object.shared())
        let fileThere = try await sessions[1].open(file.shared())
        _ = try await sessions[1].get(objectThere)
        _ = try await sessions[1].get(fileThere)
        #expect(try await sessions[0].census() == (4, 2))
    }

    @Test func aBorrowerKeepsTheObjectAfterItsOwnersProcessDroppedIt() async throws {
        try await withNodes(2) { _, _, sessions in
            var ref: ObjectRef<Bytes>? = try sessions[0].put(bytes: pattern(1000))
            let there = try await sessions[1].open(ref!.shared())
            ref = nil
            try await Task.sleep(for: .milliseconds(200))
            #expect(try await Array(sessions[1].get(there)) == pattern(1000))
        }
    }

    /// The reader's node gives the object back as its last ref goes, and is asked for it again meanwhile.
    @Test(arguments: [SessionAccess.full, .guardedReader])
    func whatIsGivenBackCanBeOpenedAgainAtOnce(_ access: SessionAccess) async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(1 << 10))
            let shared = try await ref.shared()
            let reader = try await Session.connect(socket: nodes[1].socketPath, access: access)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        for _ in 0..<250 {
                            let there = try await reader.open(shared)
                            #expect(try await Array(reader.get(there)) == pattern(1 << 10))
                        }
                    }
                }
                try await group.waitForAll()
            }
            await reader.close()
        }
    }

    @Test func aSharedRefIsKeptUntilSomebodyOpensIt() async throws {
        try await withNodes(2) { _, _, sessions in
            let shared = try await sessions[0].put(bytes: pattern(1000)).shared()
            try await Task.sleep(for: .milliseconds(200))
            try await openAndDrop(shared, sessions[1])
            // The share is used up and the opener's ref is gone.
            #expect(try await eventually { try await sessions[0].census().objects == 0 })
            let late = await failure { _ = try await sessions[1].open(shared) }
            #expect(late?.code == .objectFreed)
        }
    }

    private func openAndDrop(_ shared: SharedRef<Bytes>, _ session: Session) async throws {
        let ref = try await session.open(shared)
        #expect(try await Array(session.get(ref)) == pattern(1000))
    }

    @Test func aShareEndsWithItsLease() async throws {
        try await withNodes(1, configure: { $0.shareLease = .milliseconds(100) }) { _, _, sessions in
            _ = try await sessions[0].put(bytes: [1]).shared()
            #expect(try await eventually { try await sessions[0].census().objects == 0 })
        }
    }

    @Test func aShareEndsWithItsSession() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let other = try await Session.connect(socket: nodes[0].socketPath, job: sessions[0].job)
            _ = try await other.put(bytes: [1]).shared()
            #expect(try await sessions[0].census().objects == 1)
            await other.close()
            #expect(try await eventually { try await sessions[0].census().objects == 0 })
        }
    }

    @Test func aRefInsideAValueKeepsWhatItNamesAlive() async throws {
        struct Batch: Codable, Sendable {
            var name: String
            var data: ObjectRef<Bytes>
        }
        try await withNodes(2) { _, _, sessions in
            let outer = try sessions[0].put(Batch(name: "first", data: sessions[0].put(bytes: pattern(300_000))))
            let there = try await sessions[1].open(outer.shared())
            let batch = try await sessions[1].get(there)
            #expect(batch.name == "first")
            #expect(try await Array(sessions[1].get(batch.data)) == pattern(300_000))
            try await sessions[0].free(outer)
        }
    }

    @Test func freeingEndsTheObjectEverywhereAtOnce() async throws {
        try await withNodes(2) { _, _, sessions in
            let ref = try sessions[0].put(bytes: pattern(1000))
            let there = try await sessions[1].open(ref.shared())
            _ = try await sessions[1].get(there)
            try await sessions[1].free(there)
            #expect(await failure { _ = try await sessions[0].get(ref) }?.code == .objectFreed)
            #expect(
                await eventually { await failure { _ = try await sessions[1].get(there) }?.code == .objectFreed })
        }
    }

    @Test func aListComesInItsOrder() async throws {
        try await withNodes(2) { _, _, sessions in
            var refs: [ObjectRef<Int>] = []
            for number in 0..<50 {
                let ref = try sessions[0].put(number)
                refs.append(try await sessions[1].open(ref.shared()))
            }
            #expect(try await sessions[1].get(refs.reversed()) == Array((0..<50).reversed()))
        }
    }

    @Test func aGetThatCannotBeAnsweredInTimeNamesTheObject() async throws {
        try await withNodes(1) { cluster, nodes, sessions in
            // A node whose bulk port nobody can reach, and that is not declared dead: a get can only wait.
            let mute = try await cluster.addNode { $0.bindHost = nil }
            let owner = try await Session.connect(socket: mute.socketPath)
            let ref = try owner.put(bytes: pattern(1 << 20))
            let there = try await sessions[0].open(ref.shared())
            let error = await failure { _ = try await sessions[0].get(there, timeout: .milliseconds(300)) }
            #expect(error?.code == .timedOut)
            #expect(error?.message.contains(there.id.description) == true)
            await owner.close()
        }
    }

    /// A get that gives up ends the pull that it was alone with; the next get must start its own and not share that end.
    @Test func aGetAfterOneThatGaveUpStartsAnew() async throws {
        try await withNodes(2) { _, _, sessions in
            for attempt in 0..<20 {
                let ref = try sessions[0].put(bytes: pattern(8 << 20))
                let there = try await sessions[1].open(ref.shared())
                _ = await failure { _ = try await sessions[1].get(there, timeout: .microseconds(attempt * 100)) }
                #expect(try await sessions[1].get(there).count == 8 << 20)
            }
        }
    }

    @Test func waitSplitsReadyFromPending() async throws {
        try await withNodes(1) { _, _, sessions in
            let refs = try (0..<3).map { try sessions[0].put($0) }
            let (ready, pending) = try await sessions[0].wait(refs, count: 2)
            #expect(ready.count == 2)
            #expect(pending.count == 1)
            let error = await failure { _ = try await sessions[0].wait([refs[0], refs[0]]) }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func aNodeThatGoesTakesItsObjectsAlongAndSaysSo() async throws {
        try await withNodes(3) { cluster, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(1000))
            let held = try await sessions[1].open(ref.shared())
            _ = try await sessions[1].get(held)
            let unheld = try await sessions[2].open(ref.shared())
            cluster.cut(nodes[0])
            try await cluster.control.leave(nodes[0].description.id)
            #expect(
                await eventually {
                    await failure { _ = try await sessions[2].get(unheld, timeout: .seconds(1)) }?.code == .ownerDied
                })
            #expect(await eventually { await failure { _ = try await sessions[1].get(held) }?.code == .ownerDied })
        }
    }

    @Test func aBorrowerThatGoesIsNotWaitedFor() async throws {
        try await withNodes(2) { cluster, nodes, sessions in
            var ref: ObjectRef<Bytes>? = try sessions[0].put(bytes: pattern(1000))
            let there = try await sessions[1].open(ref!.shared())
            ref = nil
            cluster.cut(nodes[1])
            try await cluster.control.leave(nodes[1].description.id)
            #expect(
                try await eventually {
                    try await sessions[0].report("list").contains(there.id.description) == false
                })
        }
    }

    @Test func jobsDoNotSeeEachOthersNamesUnlessTheyShareANamespace() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: [1])
            try await sessions[0].bind("model", to: ref)
            #expect(await failure { _ = try await sessions[1].find("model", as: Bytes.self) }?.code == .nameUnknown)
            let taken = try sessions[0].put(bytes: [2])
            #expect(await failure { try await sessions[0].bind("model", to: taken) }?.code == .nameInUse)

            let a = try await Session.connect(socket: nodes[0].socketPath, namespace: "team")
            let b = try await Session.connect(socket: nodes[1].socketPath, namespace: "team")
            let theirs = try a.put(bytes: [7])
            try await a.bind("model", to: theirs)
            let found = try await b.find("model", as: Bytes.self)
            #expect(try await Array(b.get(found)) == [7])
            await b.close()
            await a.close()
        }
    }

    @Test func aDetachedObjectOutlivesItsJobUntilItIsRemoved() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let text = try await putDetached(at: nodes[0])
            let ref = try await sessions[1].open(text, as: Bytes.self)
            #expect(try await Array(sessions[1].get(ref)) == [1, 2, 3])
            try await sessions[1].remove(ref)
            #expect(try await Array(sessions[1].get(ref)) == [1, 2, 3], "a ref still holds it")
        }
    }

    private func putDetached(at node: Node) async throws -> String {
        let session = try await Session.connect(socket: node.socketPath)
        let ref = try session.put(bytes: [1, 2, 3])
        try await session.detach(ref)
        let text = ref.id.description
        await session.close()
        return text
    }

    @Test func whatIsNotDetachedEndsWithItsJob() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let job = try await Session.connect(socket: nodes[0].socketPath)
            let ref = try job.put(bytes: [1])
            let there = try await sessions[1].open(ref.shared())
            await job.close()
            #expect(await eventually { await failure { _ = try await sessions[1].get(there) }?.code == .ownerDied })
        }
    }

    @Test func aRefThatIsNoneOfThisClusterIsRefused() async throws {
        try await withNodes(1) { _, _, sessions in
            let unknownJob = await failure {
                _ = try await sessions[0].open("00ffffffffffffffffffffffffffffffffffffff6300000001e1f505", as: Bytes.self)
            }
            #expect(unknownJob?.code == .notFound)
            let neverPut = await failure {
                _ = try await sessions[0].open("00ffffffffffffffffffffffffffffffffffffff0100000063e1f505", as: Bytes.self)
            }
            #expect(neverPut?.code == .notFound)
            #expect(await failure { _ = try await sessions[0].open("rubbish", as: Bytes.self) }?.code == .badRef)
        }
    }
}
