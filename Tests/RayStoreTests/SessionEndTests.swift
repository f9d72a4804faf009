// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Testing

@testable import RayStore

/// How sessions begin and end, and how nodes die.
@Suite struct SessionEndTests {
    @Test func nobodyAtTheSocketIsSaidSo() async {
        #expect(await code { _ = try await Session.connect(socket: "/tmp/raystore-nowhere/x.sock") } == "NOT_RUNNING")
    }

    @Test func aRefusalReachesTheCaller() async throws {
        let node = try TestNode()
        defer { node.stop() }
        do {
            _ = try await node.connect(job: JobID(rawValue: 666))
            Issue.record("nothing was thrown")
        } catch let error as RayStoreError {
            #expect(error.code == .invalidArgument)
            #expect(error.message.contains("job 666 has ended"))
        }
        #expect(await code { _ = try await node.connect(job: JobID(rawValue: 0)) } == "INVALID_ARGUMENT")
    }

    @Test func aClosedSessionRefusesEverything() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try session.put(1)
        await session.close()
        await session.close()
        #expect(session.isClosed)
        #expect(await code { _ = try session.put(2) } == "CLOSED")
        #expect(await code { _ = try await session.get(ref) } == "CLOSED")
        #expect(await code { _ = try await session.wait([ref]) } == "CLOSED")
        #expect(await code { _ = try await ref.shared() } == "CLOSED")
        #expect(await code { _ = try session.create(byteCount: 1) { _ in } } == "CLOSED")
        await eventually("the node notices") { node.detachedCount == 1 }
        #expect(node.usedBytes == 0)
    }

    @Test func whatIsPinnedStaysReadableAfterTheClose() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let pinned = try await session.pin(session.put([UInt8](repeating: 7, count: 1 << 20)))
        let bytes = try await session.get(session.put(bytes: [1, 2, 3]))
        let hooks = Counter()
        session.onClose { hooks.up() }
        await session.close()
        let last = try pinned.elements(as: UInt8.self)[(1 << 20) - 1]
        #expect(last == 7)
        #expect(Array(bytes) == [1, 2, 3])
        #expect(node.detachedCount == 0 && hooks.count == 0)
        pinned.release()
        #expect(node.detachedCount == 0)
        withExtendedLifetime(bytes) {}
    }

    @Test func theLastPinOfAClosedSessionEndsIt() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let hooks = Counter()
        do {
            let session = try await node.connect()
            session.onClose { hooks.up() }
            let pinned = try await session.pin(session.put([1, 2, 3]))
            await session.close()
            #expect(hooks.count == 0)
            pinned.release()
        }
        await eventually("the session ends") { hooks.count == 1 && node.detachedCount == 1 }
        #expect(node.usedBytes == 0)
    }

    @Test func aSessionThatNobodyHoldsEndsByItself() async throws {
        let node = try TestNode()
        defer { node.stop() }
        do {
            let session = try await node.connect()
            _ = try session.put("left behind")
        }
        await eventually("the node notices") { node.detachedCount == 1 }
        #expect(node.usedBytes == 0)
    }

    @Test func closingRunsTheHooksBeforeItReturns() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let hooks = Counter()
        session.onClose { hooks.up() }
        session.onClose { hooks.up() }
        await session.close()
        #expect(hooks.count == 2)
        session.onClose { hooks.up() }
        await eventually("a late hook runs at once") { hooks.count == 3 }
    }

    @Test func requestsOnTheirWayFailWhenTheSessionCloses() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        node.answer(.report) { _ in
            try? await Task.sleep(for: .seconds(30))
            return .done
        }
        let task = Task { await code { _ = try await session.report("status") } }
        await eventually("the node is asked") { node.requests(.report).count == 1 }
        await session.close()
        #expect(await task.value == "CLOSED")
    }

    @Test func whenTheNodeDiesRequestsFailAndSealedDataStaysReadable() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try session.put([Float(1), 2])
        node.answer(.report) { _ in
            try? await Task.sleep(for: .seconds(30))
            return .done
        }
        let task = Task { await code { _ = try await session.report("status") } }
        await eventually("the node is asked") { node.requests(.report).count == 1 }
        node.stop()
        #expect(await task.value == "NODE_DIED")
        #expect(try await session.get(ref) == [1, 2])
        #expect(await code { _ = try await ref.shared() } == "NODE_DIED")
        await session.close()
    }

    @Test func aCloseAmidstManyUsersHarmsNobody() async throws {
        for _ in 0..<20 {
            let node = try TestNode()
            defer { node.stop() }
            let session = try await node.connect()
            let ref = try session.put([UInt8](repeating: 9, count: 4096))
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        for _ in 0..<500 {
                            do {
                                let pinned = try await session.pin(ref)
                                let last = try pinned.elements(as: UInt8.self)[4095]
                                #expect(last == 9)
                                _ = try session.put(bytes: [1, 2, 3])
                            } catch {
                                #expect((error as? RayStoreError)?.code == .closed)
                                return
                            }
                        }
                    }
                }
                group.addTask { await session.close() }
            }
            await eventually("the session ends") { node.detachedCount == 1 }
        }
    }
}
