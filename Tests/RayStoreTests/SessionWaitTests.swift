// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Synchronization
import Testing

@testable import RayStore

/// What is not here yet: waiting, timeouts, cancellation, lists.
@Suite struct SessionWaitTests {
    /// Refs of objects that the node knows and that are not sealed.
    func remoteRefs(_ count: Int, _ node: TestNode, _ session: Session) async throws -> [ObjectRef<Bytes>] {
        var refs: [ObjectRef<Bytes>] = []
        for index in 0..<count {
            let id = ObjectID(bytes: [UInt8](repeating: UInt8(index + 1), count: 28))!
            var state: UInt32 = 0
            #expect(id.withC { ray_node_adopt(node.store, &$0, &state) } == .ok)
            refs.append(try await session.open(id))
        }
        return refs
    }

    @Test func aGetWaitsUntilTheObjectIsSealed() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try await remoteRefs(1, node, session)[0]
        async let bytes = session.get(ref)
        await eventually("the node is asked") { node.requests(.get).count == 1 }
        try node.seal(ref.id, data: [1, 2, 3])
        #expect(try await Array(bytes) == [1, 2, 3])
        await session.close()
    }

    @Test func whatIsHereIsGivenWithoutAskingTheNode() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try (0..<3).map { try session.put($0) }
        #expect(try await session.get(refs) == [0, 1, 2])
        #expect(try await session.wait(refs, count: 3).ready == refs)
        #expect(node.requests(.get).isEmpty && node.requests(.wait).isEmpty)
        #expect(try session.contains(refs[0]))
        await session.close()
    }

    @Test func aListComesInItsOrderWhateverArrivesFirst() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try await remoteRefs(4, node, session)
        async let values = session.get([refs[2], refs[0], refs[3], refs[0]])
        for index in [0, 3, 2] {
            try node.seal(refs[index].id, data: [UInt8(index)])
        }
        #expect(try await values.map { $0[0] } == [2, 0, 3, 0])
        #expect(node.requests(.get).count <= 1)
        await session.close()
    }

    @Test func atTheTimeoutTheMissingAreNamedAndNothingStaysPinned() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try await remoteRefs(3, node, session)
        try node.seal(refs[1].id, data: [1])
        do {
            _ = try await session.get(refs, timeout: .milliseconds(30))
            Issue.record("nothing was thrown")
        } catch {
            #expect(error.code == .timedOut)
            #expect(error.object == refs[0].id)
            #expect(error.message.contains("2 of 3"))
            #expect(error.message.contains(refs[2].id.description))
            #expect(!error.message.contains(refs[1].id.description))
        }
        #expect(node.pinnedBytes == 0)
        #expect(await code { _ = try await session.get(refs[0], timeout: .zero) } == "TIMED_OUT")
        await session.close()
    }

    @Test func aNodeThatNeverAnswersDoesNotHoldAGetPastItsTimeForLong() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try await remoteRefs(1, node, session)[0]
        node.answer(.get) { _ in
            try? await Task.sleep(for: .seconds(8))
            return .done
        }
        #expect(await code { _ = try await session.get(ref, timeout: .milliseconds(10)) } == "TIMED_OUT")
        await eventually("the node is told") { node.cancelledCount == 1 }
        await session.close()
    }

    @Test func aCancelledGetEndsAtOnceTellsTheNodeAndLeavesNoPin() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try await remoteRefs(2, node, session)
        try node.seal(refs[0].id, data: [1, 2, 3])
        let task = Task { await code { _ = try await session.get(refs) } }
        await eventually("the node is asked") { node.requests(.get).count == 1 }
        task.cancel()
        #expect(await task.value == "CANCELLED")
        #expect(node.pinnedBytes == 0)
        await eventually("the node is told") { node.cancelledCount == 1 }
        await session.close()
    }

    @Test func aFailureNamesItsObject() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try await remoteRefs(2, node, session)
        let lost = refs[1].id
        node.answer(.get) { _ in .init(status: .objectLost, message: "both holders are gone", payload: lost.bytes) }
        do {
            _ = try await session.get(refs)
            Issue.record("nothing was thrown")
        } catch {
            #expect(error == RayStoreError(.objectLost, "both holders are gone", object: lost))
        }
        await session.close()
    }

    @Test func theNodeAndTheStoreAtOddsEndInAnErrorAndNotInALoop() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try await remoteRefs(1, node, session)[0]
        node.answer(.get) { _ in .done }
        #expect(await code { _ = try await session.get(ref) } == "NOT_LOCAL")
        await session.close()
    }

    @Test func progressReachesTheCaller() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try await remoteRefs(1, node, session)[0]
        let id = ref.id
        node.answer(.get) { [weak node] request in
            var progress = ray_transfer_progress()
            progress.done_bytes = 50
            progress.total_bytes = 100
            progress.wire_bytes = 25
            progress.elapsed_ns = 500_000_000
            progress.lz4_count = 2
            node?.progress(request, of: id, progress)
            try? node?.seal(id, data: [9])
            return .done
        }
        let seen = Seen()
        #expect(try await session.get(ref, progress: { seen.add($0) })[0] == 9)
        let progress = try #require(seen.all.first)
        #expect(progress.object == id)
        #expect(progress.fraction == 0.5)
        #expect(progress.bytesPerSecond == 100)
        #expect(progress.wire == .bytes(25) && progress.lz4Chunks == 2)
        await session.close()
    }

    final class Seen: Sendable {
        private let state = Mutex<[TransferProgress]>([])
        func add(_ progress: TransferProgress) { state.withLock { $0.append(progress) } }
        var all: [TransferProgress] { state.withLock { $0 } }
    }

    @Test func waitGivesAtMostCountReadyAndKeepsTheOrder() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try await remoteRefs(4, node, session)
        for index in [3, 1, 2] {
            try node.seal(refs[index].id, data: [])
        }
        let two = try await session.wait(refs, count: 2)
        #expect(two.ready == [refs[1], refs[2]])
        #expect(two.pending == [refs[0], refs[3]])
        let all = try await session.wait(refs, count: 4, timeout: .milliseconds(20))
        #expect(all.ready == [refs[1], refs[2], refs[3]])
        #expect(all.pending == [refs[0]])
        let now = try await session.wait(refs, count: 4, timeout: .zero)
        #expect(now.ready.count == 3)
        await session.close()
    }

    @Test func aWaitEndsInTimeThoughTheNodeDoesNotAnswer() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try await remoteRefs(2, node, session)
        let (silence, end) = AsyncStream.makeStream(of: Void.self)
        node.answer(.wait) { _ in
            for await _ in silence {}
            return nil
        }
        async let outcome = session.wait(refs, count: 2, timeout: .milliseconds(20))
        await eventually("the node is asked") { node.requests(.wait).count == 1 }
        try node.seal(refs[1].id, data: [])
        #expect(try await outcome.ready == [refs[1]])
        end.finish()
        await session.close()
    }

    @Test func waitTakesRefsOfDifferentTypes() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs: [AnyObjectRef] = [try session.put(1), try session.put("two")]
        #expect(try await session.wait(refs, count: 2).ready.count == 2)
        await session.close()
    }

    @Test func waitRefusesDuplicatesAndCountsOutOfBounds() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try session.put(1)
        let other = try session.put(2)
        for (refs, count) in [([ref, other], 0), ([ref, other], 3), ([], 1), ([ref, ref], 1)] {
            #expect(await code { _ = try await session.wait(refs, count: count) } == "INVALID_ARGUMENT")
        }
        #expect(try await session.wait([ref, other], count: 2).pending.isEmpty)
        await session.close()
    }

    @Test func aThousandGetsAtOnceAllEnd() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let refs = try await remoteRefs(200, node, session)
        node.answer(.get) { [weak node] request in
            var payload = PayloadReader(request.payload)
            _ = payload.integer(UInt64.self)
            _ = payload.integer(UInt32.self)
            let id = payload.id()!
            try? node?.seal(id, data: id.bytes)
            return .done
        }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for index in 0..<1000 {
                let ref = refs[index % refs.count]
                group.addTask { try await Array(session.get(ref)) == ref.id.bytes }
            }
            for try await isRight in group { #expect(isRight) }
        }
        #expect(node.pinnedBytes == 0)
        await session.close()
    }

    @Test func moreRequestsThanAreTakenAtOnceWaitAndAllEnd() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ended = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<20_000 {
                group.addTask {
                    if (try? await session.report("x", arguments: "")) == "x " { ended.up() }
                }
            }
        }
        #expect(ended.count == 20_000)
        await session.close()
    }
}
