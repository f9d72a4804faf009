// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// A wire that lies, between two node processes: the second is reached through a proxy that flips bits of what it sends.
@Suite(.serialized) struct WireTests {
    private static let size = 24 << 20

    private func withProxy(
        flipEvery: Int? = nil, connections: Int, _ body: (Session, Session, FlippingProxy) async throws -> Void
    ) async throws {
        try await withCluster(1) { cluster in
            let port = try freePort()
            // Far enough into the stream to be data of a chunk.
            let proxy = try FlippingProxy(to: port, flipAt: 1_000_000, flipEvery: flipEvery, connections: connections)
            defer { proxy.stop() }
            try await cluster.addNode(extra: ["--bulk-port", "\(port)", "--advertise-bulk-port", "\(proxy.port)"])
            let reader = try await cluster.session(0)
            let writer = try await cluster.session(1)
            try await body(reader, writer, proxy)
            await writer.close()
            await reader.close()
        }
    }

    @Test func aFlippedByteOfAnObjectIsFetchedAgain() async throws {
        try await withProxy(connections: 2) { reader, writer, proxy in
            let ref = try await reader.open(writer.put(bytes: pattern(Self.size)).shared())
            #expect(Array(try await reader.get(ref, timeout: .seconds(60))) == pattern(Self.size))
            #expect(proxy.flipCount > 0)
            #expect(try await corruptChunks(asking: reader) > 0)
        }
    }

    @Test func aFlippedByteOfAFileIsFetchedAgain() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withProxy(connections: 2) { reader, writer, proxy in
            let ref = try await reader.open(writer.put(RayFile(path: scratch.file("f", size: Self.size))).shared())
            let file = try await reader.get(ref, timeout: .seconds(60))
            #expect(try read(file.path) == pattern(Self.size))
            #expect(proxy.flipCount > 0)
            #expect(try await corruptChunks(asking: reader) > 0)
        }
    }

    /// Every chunk is harmed every time: an error that says so, and nothing half-made.
    @Test func aWireThatNeverTellsTheTruthIsAnError() async throws {
        try await withProxy(flipEvery: 1 << 20, connections: .max) { reader, writer, proxy in
            let ref = try await reader.open(writer.put(bytes: pattern(Self.size)).shared())
            let error = await failure { _ = try await reader.get(ref, timeout: .seconds(60)) }
            #expect(error?.code == .corrupt)
            #expect(error?.object == ref.id)
            #expect(proxy.flipCount >= 5)
            #expect(try !reader.contains(ref))
        }
    }

    private func corruptChunks(asking session: Session) async throws -> UInt64 {
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
        return report.nodes.reduce(0) { $0 + $1.corruptChunks }
    }
}
