// SPDX-License-Identifier: Apache-2.0
import CRayStore
import FoundationEssentials
import Testing

@testable import RayStore

/// The lives of refs: dropped, shared, contained in values, named.
@Suite struct SessionRefTests {
    struct Batch: Codable {
        var name: String
        var parts: [ObjectRef<[Float]>]
    }

    @Test func theLastRefTakesTheObjectWithIt() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        var ref: ObjectRef<String>? = try session.put("short life")
        let id = ref!.id
        #expect(node.info(id) != nil)
        var second = ref
        ref = nil
        #expect(node.info(id) != nil)
        second = nil
        #expect(second == nil)
        #expect(node.info(id) == nil)
        #expect(node.usedBytes == 0)
        await session.close()
    }

    @Test func aPinKeepsTheBytesOfAnObjectWhoseRefsAreGone() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let pinned = try await { try await session.pin(session.put([UInt8](repeating: 7, count: 4096))) }()
        let last = try pinned.elements(as: UInt8.self)[4095]
        #expect(last == 7)
        pinned.release()
        #expect(node.usedBytes == 0)
        await session.close()
    }

    @Test func freedObjectsSayThatTheyWereFreed() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try session.put(1)
        try await session.free(ref)
        #expect(await code { _ = try await session.get(ref) } == "OBJECT_FREED")
        #expect(try !session.contains(ref))
        // Nobody else had seen it: shared memory was enough. A second time says nothing new.
        #expect(node.requests(.free).isEmpty)
        #expect(node.usedBytes == 0)
        await session.close()
    }

    @Test func aSharedRefIsOpenedByAnotherSession() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let a = try await node.connect()
        let b = try await node.connect(job: a.job)
        #expect(!b.isDriver)
        #expect(node.attachments[1].job == a.job.rawValue)
        let ref = try a.put([Float(1), 2])
        let text = try await ref.shared().text
        #expect(node.requests(.shareRef).count == 1)
        let opened = try await b.open(text, as: [Float].self)
        #expect(opened == ref)
        await a.close()
        #expect(try await b.get(opened) == [1, 2])
        await b.close()
    }

    @Test func whatIsNoRefAndWhatIsGoneIsNotOpened() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        #expect(await code { _ = try await session.open("nonsense", as: Int.self) } == "BAD_REF")
        #expect(await code { _ = try await session.open(String(repeating: "00", count: 28), as: Int.self) } == "NOT_FOUND")
        await session.close()
    }

    @Test func aRefOfAnotherSessionIsRefusedWithAdvice() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let a = try await node.connect()
        let b = try await node.connect()
        let ref = try a.put(1)
        #expect(await code { _ = try await b.get(ref) } == "INVALID_ARGUMENT")
        #expect(await code { _ = try b.put([ref]) } == "INVALID_ARGUMENT")
        await a.close()
        await b.close()
    }

    @Test func aValueKeepsTheRefsInItAlive() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let batch: ObjectRef<Batch>
        let inner: ObjectID
        do {
            let part = try session.put([Float(1), 2, 3])
            inner = part.id
            batch = try session.put(Batch(name: "b", parts: [part, part]))
        }
        // The node is told once for each contained object, and the part is there until it knows.
        let shared = try await batch.shared()
        var payload = PayloadReader(try #require(node.requests(.contain).first).payload)
        #expect(payload.id() == batch.id)
        #expect(payload.integer(UInt32.self) == 1)
        #expect(payload.id() == inner)
        #expect(node.info(inner)?.node_has_ref == true)

        let reader = try await node.connect(job: session.job)
        let value = try await reader.get(reader.open(shared))
        #expect(value.name == "b")
        #expect(value.parts[0].id == inner)
        #expect(try await reader.get(value.parts[1]) == [1, 2, 3])
        await session.close()
        await reader.close()
    }

    @Test func anInnerRefThatCannotBeOpenedFailsWhenItIsUsed() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let part = try session.put([Float(1)])
        let good = try session.put([Float(2)])
        let batch = try session.put(Batch(name: "b", parts: [part, good]))
        _ = try await batch.shared()
        let lost = part.id
        node.answer(.openRef) { request in
            request.payload == lost.bytes ? .init(status: .objectLost, message: "it is lost") : nil
        }
        let value = try await session.get(batch)
        do {
            _ = try await session.get(value.parts[0])
            Issue.record("nothing was thrown")
        } catch {
            #expect(error == RayStoreError(.objectLost, "it is lost", object: lost))
        }
        #expect(try await session.get(value.parts[1]) == [2])
        await session.close()
    }

    @Test func whatTheNodeCannotHoldStaysWithTheValueAndCannotBeShared() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        node.answer(.contain) { _ in .init(status: .ownerDied, message: "the owner died") }
        let inner: ObjectID
        var batch: ObjectRef<Batch>?
        do {
            let part = try session.put([Float(1)])
            inner = part.id
            batch = try session.put(Batch(name: "b", parts: [part]))
        }
        #expect(await code { _ = try await batch!.shared() } == "OWNER_DIED")
        #expect(node.info(inner) != nil)
        batch = nil
        await eventually("the inner object goes with the outer") { node.info(inner) == nil }
        await session.close()
    }

    @Test func encodingARefOutsideOfAPutIsRefusedWithAdvice() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try session.put(1)
        let error = #expect(throws: EncodingError.self) { try JSONEncoder().encode([ref]) }
        #expect("\(error!)".contains("shared()"))
        let json = try JSONEncoder().encode([await ref.shared()])
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([ObjectRef<Int>].self, from: json) }
        let shared = try JSONDecoder().decode([SharedRef<Int>].self, from: json)[0]
        #expect(try await session.get(session.open(shared)) == 1)
        await session.close()
    }

    @Test func namesAreBoundFoundAndUnbound() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect(namespace: "team")
        #expect(node.attachments[0].namespace == "team")
        let ref = try session.put("named")
        try await session.bind("the text", to: ref)
        #expect(await code { try await session.bind("the text", to: ref) } == "NAME_IN_USE")
        let found = try await session.find("the text", as: String.self)
        #expect(try await session.get(found) == "named")
        #expect(try await session.unbind("the text") == ref.id)
        #expect(await code { _ = try await session.find("the text", as: String.self) } == "NAME_UNKNOWN")
        await session.close()
    }

    @Test func reportsAreAskedForByName() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        #expect(try await session.report("status", arguments: "{}") == "status {}")
        let row = #"{"objects":[{"object":"\#(IdTests.firstPut)","size":5,"futureField":1}],"nodes":[]}"#
        node.answer(.report) { _ in .init(payload: Array(row.utf8)) }
        let objects = try await session.list()
        #expect(objects.count == 1)
        #expect(objects[0].size == .bytes(5) && objects[0].job == JobID(rawValue: 1))
        node.answer(.report) { _ in .init(payload: Array("nonsense".utf8)) }
        #expect(await code { _ = try await session.memory() } == "PROTOCOL")
        await session.close()
    }

    @Test func detachAndRemoveReachTheNode() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try session.put(1)
        try await session.detach(ref)
        try await session.remove(ref)
        #expect(node.requests(.detach).map(\.payload) == [ref.id.bytes])
        #expect(node.requests(.remove).map(\.payload) == [ref.id.bytes])
        await session.close()
    }
}
