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

    /// The pull tries again and again, and goes on where it was when the wire is back.
    @Test func aFileThatIsCutForLongIsNotFetchedFromTheStart() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let size = 96 << 20
        try await withNodes(1) { cluster, nodes, sessions in
            let control = ProxiedControl(cluster.control) { try FlippingProxy(to: $0, cutAt: size * 3 / 4) }
            let owner = try await cluster.addNode(control: control)
            let writer = try await Session.connect(socket: owner.socketPath)
            let proxy = try #require(control.proxies.first)
            defer { proxy.stop() }
            let path = try scratch.file("f", size: size, seed: 3)
            let text = try await writer.put(RayFile(path: path)).shared()
            let ref: ObjectRef<RayFile> = try await sessions[0].open(text)

            async let fetched = sessions[0].get(ref)
            // Five failures in a row end a pull that has no patience.
            #expect(await eventually(within: .seconds(60)) { proxy.refusedCount >= 12 })
            let partial = cluster.stateDirectory(of: nodes[0]) + "/partial"
            #expect(try FileManager.default.contentsOfDirectory(atPath: partial).count == 2, "the file and its journal")
            proxy.mend()
            let file = try await fetched
            #expect(FileManager.default.contentsEqual(atPath: file.path, andPath: path))
            // From the start it would be 1.75 of the size. What the cut cost lay in buffers, or was not a whole chunk.
            #expect(proxy.passedCount < size * 3 / 2, "\(proxy.passedCount) of \(size)")
            // The journal goes when the engine has heard that the end of the pull is known.
            #expect(try await eventually { try FileManager.default.contentsOfDirectory(atPath: partial) == [] })
            await writer.close()
        }
    }

    private func corruptChunks(asking session: Session) async throws -> UInt64 {
        let text = try await session.report("status")
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(text.utf8))
        return report.nodes.reduce(0) { $0 + $1.corruptChunks }
    }
}
