// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Foundation
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// Strangers at the port that a node's data comes from.
@Suite(.serialized) struct BulkPortTests {
    private static let size = 9 << 20

    /// Two nodes; the body gets the second, which has an object, the ref of that in a session of the first, and where its data comes from.
    private func withServingNode(_ body: (Session, ObjectRef<Bytes>, NodeDescription) async throws -> Void) async throws {
        try await withCluster(2) { cluster in
            let reader = try await cluster.session(0)
            let writer = try await cluster.session(1)
            let ref = try await reader.open(writer.put(bytes: pattern(Self.size)).shared())
            let node = try #require(try await status(reader).nodes.first { $0.node.id == writer.nodeID }).node
            try await body(reader, ref, node)
            // Whatever strangers did, the node serves those who have the key.
            #expect(Array(try await reader.get(ref, timeout: .seconds(60))) == pattern(Self.size))
            await writer.close()
            await reader.close()
        }
    }

    private func status(_ session: Session) async throws -> ClusterReport {
        try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
    }

    private func refused(by node: NodeDescription, asking session: Session) async throws -> UInt64 {
        try #require(try await status(session).nodes.first { $0.node.id == node.id }).refusedConnections
    }

    @Test func aPullWithAnotherKeyIsRefusedAndGetsNothing() async throws {
        try await withServingNode { reader, ref, node in
            let store = try NodeStore(capacity: 32 << 20)
            let transfer = try BulkTransfer(store: store, catalog: Catalog(), key: .random(), bindHost: nil, port: 0)
            let error = await failure {
                _ = try await transfer.pull(
                    ref.id, from: [BulkEndpoint(host: node.host, port: node.bulkPort)], partialPath: "/nonexistent/partial",
                    progress: { _ in })
            }
            #expect(error?.code == .keyRefused)
            #expect(error?.message.contains("127.0.0.1:\(node.bulkPort)") == true)
            #expect(transfer.stats.received_wire_bytes == 0)
            #expect(store.entry(of: ref.id) == nil)
            try await runBlocking { transfer.stop() }
            #expect(try await refused(by: node, asking: reader) > 0)
        }
    }

    /// The handshake by hand, with a proof made with another key, and the first message of the protocol behind it.
    @Test func aWrongProofIsTheLastThingThatIsRead() async throws {
        try await withServingNode { reader, ref, node in
            let outcome = try await runBlocking { Self.proveWrongly(at: node.bulkPort, asking: ref.id) }
            #expect(outcome == .refused(bytesAfterTheVerdict: 0))
            #expect(try await refused(by: node, asking: reader) > 0)
        }
    }

    private enum Outcome: Equatable {
        case refused(bytesAfterTheVerdict: Int)
        case other(String)
    }

    private static func proveWrongly(at port: UInt16, asking id: ObjectID) -> Outcome {
        guard let connection = try? RawConnection(port: port) else { return .other("no connection") }
        var key = ray_key()
        ray_key_random(&key)
        var made: OpaquePointer?
        guard ray_auth_create(&key, UInt32(RAY_ROLE_CONNECTING), UInt32(RAY_PURPOSE_BULK), &made) == .ok, let auth = made else {
            return .other("no handshake")
        }
        defer { ray_auth_destroy(auth) }
        var arrived: [UInt8] = []
        var isProven = false
        while true {
            var (consumed, outSize) = (0, 0)
            var out = [UInt8](repeating: 0, count: Int(RAY_AUTH_MESSAGE_MAX))
            let status = ray_auth_step(auth, arrived, arrived.count, &consumed, &out, &outSize)
            arrived.removeFirst(consumed)
            if status == .keyRefused {
                guard let rest = connection.receiveAll() else { return .other("the connection stays open") }
                return .refused(bytesAfterTheVerdict: arrived.count + rest.count)
            }
            guard status == .again else { return .other("status \(status.rawValue)") }
            // With the proof goes an OPEN, as one would send it who does not wait for the answer.
            isProven = isProven || consumed > 0
            connection.send(Array(out.prefix(outSize)) + (isProven ? open(id) : []))
            guard let more = connection.receive(), !more.isEmpty else { return .other("closed without a verdict") }
            arrived += more
        }
    }

    /// Bytes of an OPEN; the check is zero, for nobody is to look at it.
    private static func open(_ id: ObjectID) -> [UInt8] {
        Array("RYM1".utf8) + [1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + id.bytes
            + [UInt8](repeating: 7, count: 8) + [1, 0, 0, 0]
    }

    @Test func whoSaysNothingIsHungUpOnAndStopsNobody() async throws {
        try await withServingNode { reader, ref, node in
            // More than there are places for those who have not proved themselves.
            let silent = try (0..<40).map { _ in try RawConnection(port: node.bulkPort) }
            #expect(Array(try await reader.get(ref, timeout: .seconds(60))) == pattern(Self.size))
            for connection in silent {
                #expect(try await runBlocking { connection.receiveAll(within: .seconds(60)) } == [])
            }
            #expect(try await refused(by: node, asking: reader) >= 40)
        }
    }

    @Test func garbageIsHungUpOnWithoutAnAnswer() async throws {
        try await withServingNode { reader, ref, node in
            let seed = UInt64.random(in: 1...1_000_000)
            print("RAYSTORE_SEED=\(seed)")
            let texts = [Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8), pattern(1 << 16, seed: seed), [0], Array("RAYS".utf8)]
            for text in texts {
                let connection = try RawConnection(port: node.bulkPort)
                connection.send(text)
                let answer = try await runBlocking { connection.receiveAll(within: .seconds(60)) }
                let said = try #require(answer, "the connection stays open")
                #expect(said.count <= Int(RAY_AUTH_MESSAGE_MAX), "no more than a verdict")
            }
            #expect(try await refused(by: node, asking: reader) >= UInt64(texts.count))
        }
    }
}
