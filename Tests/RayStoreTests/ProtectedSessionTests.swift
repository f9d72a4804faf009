// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Testing

@testable import RayStore

/// A session with the node's tables shut outside of calls does what any other does, on whatever thread its task runs. That a stray
/// write faults is shown by `plasma_protect_test`.
@Suite struct ProtectedSessionTests {
    private func connect(to node: TestNode) async throws(RayStoreError) -> Session? {
        do {
            return try await Session.connect(socket: node.socketPath, access: .protected)
        } catch {
            guard error.code == .unsupported else { throw error }
            #expect(error.message.contains("protection keys"))
            return nil
        }
    }

    @Test func aProtectedSessionPutsGetsWaitsAndDrops() async throws {
        let node = try TestNode()
        defer { node.stop() }
        // Nil where the processor has no protection keys: then connecting says so.
        guard let session = try await connect(to: node) else { return }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<32 {
                group.addTask {
                    let ref = try session.put([Int](repeating: number, count: 1000))
                    let values = try await session.get(ref)
                    #expect(values == [Int](repeating: number, count: 1000))
                    let pinned = try await session.pin(ref)
                    let last = try pinned.elements(as: Int.self)[999]
                    #expect(last == number)
                    #expect(try await session.wait([ref]).ready.count == 1)
                }
            }
            try await group.waitForAll()
        }
        await session.close()
        await eventually("the node notices") { node.detachedCount == 1 }
        #expect(node.usedBytes == 0)
    }
}
