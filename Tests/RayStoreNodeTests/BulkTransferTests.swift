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

    /// What a pull is told of between its look for sources and the engine's beginning.
    @Test func aHolderOfferedBeforeThePullBeginsIsAsked() async throws {
        let key = ClusterKey.random()
        let (there, here) = (try NodeStore(capacity: 8 << 20), try NodeStore(capacity: 8 << 20))
        try there.put(id, data: pattern(1 << 20), metadata: [])
        let sender = try BulkTransfer(store: there, catalog: Catalog(), key: key, bindHost: "127.0.0.1", port: 0)
        let receiver = try BulkTransfer(store: here, catalog: Catalog(), key: key, bindHost: "127.0.0.1", port: 0)
        let nobody = BulkEndpoint(host: "127.0.0.1", port: try freePort())
        let told = PullUrgency(.get)
        told.offer(BulkEndpoint(host: "127.0.0.1", port: sender.port))
        let error = await failure {
            _ = try await receiver.pull(id, from: [nobody], partialPath: "/nowhere", urgency: told, progress: { _ in })
        }
        #expect(error == nil && here.entry(of: id)?.state == .sealed, "\(String(describing: error))")
        // An attempt that looks anew finds by itself who has it, and asks nobody who was offered before.
        here.delete(id, failure: .objectFreed)
        told.offer(BulkEndpoint(host: "127.0.0.1", port: sender.port))
        told.forgetOffers()
        let alone = await failure {
            _ = try await receiver.pull(id, from: [nobody], partialPath: "/nowhere", urgency: told, progress: { _ in })
        }
        #expect(alone?.code == .unreachable)
        try await runBlocking {
            receiver.stop()
            sender.stop()
        }
    }
}
