// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Who computes the checksums of what nodes send each other.
@Suite struct SumsAheadTests {
    /// What each node says of its checksums, in the order of their sessions.
    private func sums(_ session: Session, of node: Node) async throws -> SumsReport {
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(try await session.report("status").utf8))
        return try #require(report.nodes.first { $0.node.id == node.description.id }?.sums)
    }

    @Test func theFirstGetOfWhatLayForAWhileHashesNothing() async throws {
        let size = 9 << 20
        try await withNodes(2) { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(size))
            #expect(
                try await eventually {
                    let now = try await sums(sessions[0], of: nodes[0])
                    return now.aheadBytes == UInt64(size) && now.pendingCount == 0 && now.pendingBytes == 0
                })
            let opened = try await sessions[1].open(ref.shared())
            #expect(try await Array(sessions[1].get(opened)) == pattern(size))
            #expect(try await sums(sessions[0], of: nodes[0]).hashedBytes == 0)
            // Received is verified: its sums are known.
            #expect(try await sums(sessions[1], of: nodes[1]).aheadBytes == 0)
        }
    }

    @Test func aNodeThatIsToldSoHashesWhenItSends() async throws {
        let size = 9 << 20
        try await withNodes(2) {
            $0.sumsAhead = false
        } _: { _, nodes, sessions in
            let ref = try sessions[0].put(bytes: pattern(size))
            let opened = try await sessions[1].open(ref.shared())
            #expect(try await Array(sessions[1].get(opened)) == pattern(size))
            let now = try await sums(sessions[0], of: nodes[0])
            #expect(now.hashedBytes == UInt64(size) && now.aheadBytes == 0 && now.pendingCount == 0)
        }
    }
}
