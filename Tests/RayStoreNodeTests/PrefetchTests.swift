// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Copies that nodes get before anybody there asks: what is there then, how long it stays, and what a failure leaves.
@Suite struct PrefetchTests {
    @Test func aGetAfterAPrefetchIsLocal() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withNodes(2) { cluster, nodes, sessions in
            let object = try sessions[0].put(bytes: pattern(9 << 20))
            let file = try await sessions[0].put(RayFile(path: scratch.file("f", size: 5 << 20)))
            try await sessions[0].prefetch(object, on: nodes[1].description.id, untilThere: true)
            try await sessions[0].prefetch(file, on: nodes[1].description.id, untilThere: true)
            #expect(cluster.files().count == 2)
            let sent = try await sentBytes(sessions[0])
            let objectThere = try await sessions[1].open(object.shared())
            #expect(try sessions[1].contains(objectThere))
            #expect(try await sessions[1].get(objectThere).count == 9 << 20)
            let fileThere = try await sessions[1].open(file.shared())
            #expect(try await read(sessions[1].get(fileThere).path) == pattern(5 << 20))
            #expect(try await sentBytes(sessions[0]) == sent)
        }
    }

    @Test func aNodePrefetchesForItself() async throws {
        try await withNodes(2) { _, _, sessions in
            let ref = try sessions[0].put(bytes: pattern(9 << 20))
            let there = try await sessions[1].open(ref.shared())
            try await sessions[1].prefetch(there, untilThere: true)
            #expect(try sessions[1].contains(there))
            // Its owner has it anyway.
            try await sessions[0].prefetch(ref, untilThere: true)
        }
    }

    @Test func withoutWaitingThePullHasBegun() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(20 << 20))
            try await sessions[0].prefetch(ref, on: nodes[1].description.id)
            #expect(try await eventually { try await isOn(nodes[1], ref, sessions[0]) })
        }
    }

    /// The node is a borrower: the object lives as long as the prefetch, and goes with it.
    @Test func thePrefetchKeepsTheObjectUntilItsTimeIsOver() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let text = try await prefetchAndDrop(sessions[0], on: nodes[1], keepFor: .seconds(600))
            // The owner has heard that nobody refers to it any more, but for the node.
            #expect(
                try await eventually {
                    try await sessions[0].list().contains {
                        $0.object.description == text && $0.isOwner && $0.referringClients == 0 && $0.borrowers == 1
                    }
                })
            let ref: ObjectRef<Bytes> = try await sessions[1].open(text)
            #expect(try sessions[1].contains(ref))
            #expect(try await sessions[1].get(ref).count == 1 << 20)
            // Asked again it is kept longer, never shorter; ended it goes with the last ref.
            try await sessions[1].prefetch(ref, keepFor: .milliseconds(1))
            try await sessions[1].endPrefetch(ref)
            #expect(try sessions[1].contains(ref))
        }
        try await withNodes(2) { _, nodes, sessions in
            _ = try await prefetchAndDrop(sessions[0], on: nodes[1], keepFor: .seconds(2))
            #expect(try await eventually(within: .seconds(10)) { try await sessions[0].census() == (0, 0) })
        }
    }

    @Test func anEndedPrefetchTakesTheCopyAlong() async throws {
        try await withNodes(2) { cluster, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(9 << 20))
            try await sessions[0].prefetch(ref, on: nodes[1].description.id, untilThere: true)
            #expect(try await sessions[0].census().objects == 2)
            try await sessions[0].endPrefetch(ref, on: nodes[1].description.id)
            #expect(try await eventually { try await sessions[0].census().objects == 1 })
            // And one that is under way.
            try await sessions[0].prefetch(ref, on: nodes[1].description.id)
            try await sessions[0].endPrefetch(ref, on: nodes[1].description.id)
            #expect(try await eventually { try await used(nodes[1], sessions[0]) == 0 })
            #expect(try await sessions[0].get(ref).count == 9 << 20)
        }
    }

    @Test func aFreedObjectEndsItsPrefetch() async throws {
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(9 << 20))
            try await sessions[0].prefetch(ref, on: nodes[1].description.id, untilThere: true)
            try await sessions[0].free(ref)
            #expect(try await eventually { try await sessions[0].census() == (0, 0) })
            #expect(await failure { try await sessions[0].prefetch(ref, on: nodes[1].description.id) }?.code == .objectFreed)
        }
    }

    @Test func aFullStoreAndAnUnknownNodeAreSaid() async throws {
        try await withNodes(1) { cluster, _, sessions in
            let small = try await cluster.addNode(capacity: 8 << 20)
            let gone = try await cluster.addNode()
            let ref = try sessions[0].put(bytes: pattern(20 << 20))
            let full = await failure { try await sessions[0].prefetch(ref, on: small.description.id, untilThere: true) }
            #expect(full?.code == .storeFull)
            // It has given the object back, and says the same to who asks later.
            #expect(try await eventually { try await used(small, sessions[0]) == 0 })
            let unknown = await failure { try await sessions[0].prefetch(ref, on: .random()) }
            #expect(unknown?.code == .invalidArgument)
            await gone.stop()
            #expect(
                await eventually {
                    await failure { try await sessions[0].prefetch(ref, on: gone.description.id) }?.code == .nodeDied
                })
        }
    }

    @Test func aWaitThatGivesUpLeavesThePrefetchToGoOn() async throws {
        try await withNodes(1) { cluster, nodes, sessions in
            // Nobody can reach its bulk port, so nothing can come of it yet.
            let mute = try await cluster.addNode { $0.bindHost = nil }
            let owner = try await Session.connect(socket: mute.socketPath)
            let ref = try owner.put(bytes: pattern(1 << 20))
            let here = nodes[0].description.id
            let late = await failure {
                try await owner.prefetch(ref, on: here, untilThere: true, timeout: .milliseconds(300))
            }
            #expect(late?.code == .timedOut)
            #expect(try await sessions[0].list().contains { $0.object == ref.id && $0.node == here.short })
            try await owner.endPrefetch(ref, on: here)
            #expect(
                try await eventually {
                    try await !sessions[0].list().contains { $0.object == ref.id && $0.node == here.short }
                })
            await owner.close()
        }
    }

    private func prefetchAndDrop(_ session: Session, on node: Node, keepFor time: Duration) async throws -> String {
        let ref = try session.put(bytes: pattern(1 << 20))
        try await session.prefetch(ref, on: node.description.id, keepFor: time, untilThere: true)
        return ref.id.description
    }

    private func isOn(_ node: Node, _ ref: AnyObjectRef, _ session: Session) async throws -> Bool {
        try await session.list().contains {
            $0.object == ref.id && $0.node == node.description.id.short && $0.state == "sealed"
        }
    }

    private func used(_ node: Node, _ session: Session) async throws -> Int {
        try await session.memory().first { $0.node == node.description.id }?.used.bytes ?? -1
    }

    private func sentBytes(_ session: Session) async throws -> UInt64 {
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
        return report.nodes.reduce(0) { $0 + $1.sentBytes }
    }
}
