// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// A wire that lies, between real nodes: the owner's bulk port is reached through a proxy that flips a bit.
@Suite struct WireFaultTests {
    private static let size = 24 << 20

    @Test func aFlippedByteIsFetchedAgain() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withNodes(1) { cluster, _, sessions in
            // Far enough into the stream to be data of a chunk, on the first two connections that a pull makes.
            let control = ProxiedControl(cluster.control) { try FlippingProxy(to: $0, flipAt: 1_000_000, connections: 2) }
            let owner = try await cluster.addNode(control: control)
            let writer = try await Session.connect(socket: owner.socketPath)
            let proxy = try #require(control.proxies.first)
            defer { proxy.stop() }

            let object = try writer.put(bytes: pattern(Self.size))
            let bytes = try await sessions[0].get(sessions[0].open(object.shared()))
            #expect(Array(bytes) == pattern(Self.size))
            #expect(proxy.flipCount > 0)
            let corrupt = try await corruptChunks(asking: sessions[0])
            #expect(corrupt > 0)

            let ref = try await writer.put(RayFile(path: scratch.file("f", size: Self.size, seed: 2)))
            let file = try await sessions[0].get(sessions[0].open(ref.shared()))
            #expect(try read(file.path) == pattern(Self.size, seed: 2))
            await writer.close()
        }
    }

    private func corruptChunks(asking session: Session) async throws -> UInt64 {
        let text = try await session.report("status")
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(text.utf8))
        return report.nodes.reduce(0) { $0 + $1.corruptChunks }
    }
}
