// SPDX-License-Identifier: Apache-2.0
import CRayStore
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// The engine's end, beside those who still come to it.
@Suite struct BulkTransferTests {
    private let id = ObjectID(bytes: [UInt8](repeating: 0x5a, count: 28))!

    @Test func whoComesAfterTheStopIsToldSo() async throws {
        let store = try NodeStore(capacity: 8 << 20)
        let transfer = try BulkTransfer(store: store, catalog: Catalog(), key: .random(), bindHost: "127.0.0.1", port: 0)
        let before = transfer.stats
        try await runBlocking { transfer.stop() }
        transfer.forget(id)
        #expect(transfer.stats.sent_bytes == before.sent_bytes && transfer.stats.connection_count == 0)
        await #expect {
            _ = try await transfer.pull(
                id, from: [BulkEndpoint(host: "127.0.0.1", port: transfer.port)], partialPath: "/nowhere", progress: { _ in })
        } throws: { ($0 as? RayStoreError)?.code == .closed }
    }
}
