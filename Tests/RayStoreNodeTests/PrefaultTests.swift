// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Memory that a node takes before anybody asks for it.
@Suite struct PrefaultTests {
    private static func reserved(of session: Session) async throws -> UInt64? {
        let text = try await session.report("status")
        return try JSONDecoder().decode(ClusterReport.self, from: Data(text.utf8)).nodes.first?.reservedBytes
    }

    @Test(arguments: [(nil, 64 << 20), (UInt64(10 << 20), 10 << 20), (0, 0)] as [(UInt64?, UInt64)])
    func aNodeTakesAsMuchAsItIsToldAndNoMore(asked: UInt64?, expected: UInt64) async throws {
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(capacity: 64 << 20) { $0.prefault = asked }
        let session = try await Session.connect(socket: node.socketPath)
        #expect(try await eventually { try await Self.reserved(of: session) == expected })
        // A put into what is there takes no more; one into nothing takes what it needs.
        let ref = try session.put(bytes: pattern(6 << 20))
        #expect(try await Array(session.get(ref)) == pattern(6 << 20))
        #expect(try await Self.reserved(of: session) == max(expected, 8 << 20))
        await session.close()
        await cluster.stop()
    }

    @Test func aNodeStopsWhileItTakesMemory() async throws {
        let cluster = try await LocalCluster()
        for _ in 0..<5 {
            let node = try await cluster.addNode(capacity: 1 << 30) { $0.prefault = nil }
            await node.stop()
        }
        await cluster.stop()
    }
}
