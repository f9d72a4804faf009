// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import Synchronization
import TestSupport
import Testing

@testable import RayStoreNode

/// Creating when the store is full: who waits, who is served, and what is said when nobody can be.
///
/// One after the other: each fills a store, and without optimisation that keeps the few cores busy.
@Suite(.serialized) struct RoomTests {
    private static let mib = 1 << 20

    /// A node of 32 MiB and sessions on it.
    private func withStore(
        sessions count: Int, configure: @escaping (inout NodeOptions) -> Void = { _ in },
        _ body: (Node, [Session]) async throws -> Void
    ) async throws {
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(capacity: 32 << 20, configure: configure)
        var sessions: [Session] = []
        for _ in 0..<count { sessions.append(try await Session.connect(socket: node.socketPath)) }
        var failure: (any Error)?
        do {
            try await body(node, sessions)
            for session in sessions { await session.close() }
            #expect(await node.waitingForRoom == 0)
        } catch {
            failure = error
        }
        await cluster.stop()
        if let failure { throw failure }
    }

    private func fill(_ session: Session, _ count: Int = 30) throws -> [ObjectRef<Bytes>] {
        let bytes = [UInt8](repeating: 7, count: Self.mib)
        return try (0..<count).map { _ in try session.put(bytes: bytes) }
    }

    private func waits(_ count: Int, at node: Node) async -> Bool {
        await eventually { await node.waitingForRoom == count }
    }

    // MARK: Served

    @Test func aPutWaitsUntilSomebodyFrees() async throws {
        try await withStore(sessions: 2) { node, sessions in
            var refs = try fill(sessions[0])
            let bytes = pattern(4 * Self.mib, seed: 99)
            async let late = sessions[1].put(bytes: bytes, within: .seconds(60))
            #expect(await waits(1, at: node))
            #expect(await failure { _ = try sessions[1].put(bytes: bytes) }?.code == .storeFull)
            refs.removeFirst(6)
            let ref = try await late
            #expect(equal(try await sessions[1].get(ref), bytes))
            // From here on memory is everybody's again.
            #expect(try sessions[0].put(bytes: pattern(Self.mib)).id != ref.id)
        }
    }

    @Test func everyFormOfPutWaits() async throws {
        try await withStore(sessions: 2) { node, sessions in
            let (session, numbers) = (sessions[1], (0..<Self.mib / 4).map { Int32($0) })
            let text = String(repeating: "x", count: Self.mib)
            for form in 0..<5 {
                var refs = try fill(sessions[0], 31)
                async let check: Bool = {
                    switch form {
                    case 0: return try await session.get(session.put(numbers, within: nil)) == numbers
                    case 1:
                        let ref = try await session.put(numbers, shape: [512, 512], within: nil)
                        return try await session.get(ref) == numbers
                    case 2: return try await session.get(session.put([text], within: nil)) == [text]
                    case 3:
                        let ref = try await session.create(byteCount: Self.mib, within: nil) { span in
                            for _ in 0..<Self.mib { span.append(7) }
                        }
                        return try await session.get(ref).count == Self.mib
                    default:
                        let ref = try await session.create(shape: [Self.mib / 4], of: Int32.self, within: nil) { span in
                            for number in 0..<Self.mib / 4 { span.append(Int32(number)) }
                        }
                        return try await session.get(ref) == numbers
                    }
                }()
                #expect(await waits(1, at: node))
                refs.removeFirst(8)
                #expect(try await check)
                refs.removeAll()
            }
        }
    }

    @Test func aRefInAValueThatWaitedIsKeptAlive() async throws {
        try await withStore(sessions: 1) { node, sessions in
            let session = sessions[0]
            var inner: ObjectRef<Bytes>? = try session.put(bytes: [1, 2, 3])
            var refs = try fill(session, 31)
            let value = ["\(String(repeating: "y", count: 2 * Self.mib))": inner!]
            async let late = session.put(value, within: nil)
            #expect(await waits(1, at: node))
            refs.removeFirst(8)
            let outer = try await late
            inner = nil
            let back = try await session.get(outer)
            #expect(Array(try await session.get(back.values.first!)) == [1, 2, 3])
        }
    }

    @Test func manyClientsPutEightTimesWhatTheStoreHolds() async throws {
        try await withStore(sessions: 8) { _, sessions in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, session) in sessions.enumerated() {
                    group.addTask {
                        var held: [(ref: ObjectRef<Bytes>, bytes: [UInt8])] = []
                        for round in 0..<32 {
                            let bytes = pattern(Self.mib - round * 1000, seed: UInt64(number * 1000 + round))
                            // Eight of five and one more each is more than there is.
                            if held.count == 3 {
                                let first = held.removeFirst()
                                let isRight = equal(try await session.get(first.ref), first.bytes)
                                #expect(isRight)
                            }
                            held.append((try await session.put(bytes: bytes, within: .seconds(60)), bytes))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// A store that small objects fill all the time, and that is relieved of the oldest: the large one comes to its room, and they go on.
    @Test func aHugeObjectAndSmallOnesDoNotStarveEachOther() async throws {
        let crowd = Crowd()
        try await withStore(sessions: 4) { node, sessions in
            await node.useReliever(crowd)
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { crowd.end() }
                let bytes = pattern(Self.mib)
                for session in sessions.dropLast() {
                    group.addTask {
                        while !crowd.isOver { crowd.add(try await session.put(bytes: bytes, within: .seconds(60))) }
                    }
                }
                #expect(await eventually { crowd.puts > 60 })
                let huge = pattern(20 * Self.mib)
                for _ in 0..<3 {
                    _ = try await sessions[3].put(bytes: huge, within: .seconds(60))
                    let before = crowd.puts
                    #expect(await eventually { crowd.puts > before + 20 })
                }
                crowd.end()
                try await group.waitForAll()
            }
            crowd.drop()
        }
    }

    @Test func whatIsUnpinnedCanBeRelieved() async throws {
        let reliever = RecordingReliever()
        try await withStore(sessions: 2) { node, sessions in
            await node.useReliever(reliever)
            reliever.refs.withLock { $0 = (try? fill(sessions[0])) ?? [] }
            let ref = try await sessions[1].put(bytes: pattern(4 * Self.mib), within: .seconds(60))
            #expect(reliever.asked.withLock { $0.first ?? 0 } >= UInt64(4 * Self.mib))
            withExtendedLifetime(ref) {}
            reliever.refs.withLock { $0 = [] }
        }
    }

    // MARK: Not served

    @Test func aHopelessPutSaysWhoHasTheMemory() async throws {
        try await withStore(sessions: 2, configure: { $0.roomGrace = .milliseconds(200) }) { node, sessions in
            let refs = try fill(sessions[0])
            let pinned = try await sessions[0].pin(refs[0])
            let error = await failure { _ = try await sessions[1].put(bytes: pattern(4 * Self.mib), within: nil) }
            #expect(error?.code == .storeFull)
            let message = error?.message ?? ""
            for part in [
                "needs 41943", "nothing more can be freed", "of 33554432 bytes are free", "1052672 are pinned",
                "process \(getpid()) (",
                "spilling is off",
            ] { #expect(message.contains(part), "\(part) in: \(message)") }
            #expect(error?.object != nil)
            pinned.release()
            withExtendedLifetime(refs) {}
        }
    }

    /// Nobody can say that nothing will be let go of: a put with a limit waits until then, however long nothing comes free.
    @Test func aPutWithALimitWaitsForAPinThatGoesLate() async throws {
        try await withStore(sessions: 3, configure: { $0.roomGrace = .milliseconds(100) }) { node, sessions in
            var refs = try fill(sessions[0])
            var pins: [Bytes] = []
            for ref in refs { pins.append(try await sessions[0].get(ref)) }
            async let late = sessions[1].put(bytes: pattern(4 * Self.mib), within: .seconds(60))
            #expect(await waits(1, at: node))
            for _ in 0..<3 {
                // Who has none gives up, and has come later.
                let error = await failure { _ = try await sessions[2].put(bytes: pattern(4 * Self.mib), within: nil) }
                #expect(error?.code == .storeFull)
                #expect(await node.waitingForRoom == 1)
            }
            refs.removeAll()
            #expect(pins.count == 30)
            pins.removeAll()
            #expect(try await late.id.job != .none)
        }
    }

    /// What is free is not refused to small puts that cannot wait, through passes and holds of one who wants more than there is.
    @Test func aSmallPutThatDoesNotWaitPassesWhoWaits() async throws {
        try await withStore(sessions: 2) { node, sessions in
            var refs = try fill(sessions[0])
            async let late = sessions[1].put(bytes: pattern(16 * Self.mib), within: .seconds(60))
            #expect(await waits(1, at: node))
            let small = [UInt8](repeating: 5, count: 5000)
            let large = [UInt8](repeating: 6, count: Self.mib / 2)
            var refused = 0
            let end = ContinuousClock.now + .milliseconds(2500)
            while ContinuousClock.now < end {
                let error = await failure { _ = try sessions[0].put(bytes: small) }
                #expect(error == nil, "\(error?.message ?? "")")
                if let error = await failure({ _ = try sessions[0].put(bytes: large) }) {
                    #expect(error.message.contains("others wait for room"))
                    refused += 1
                }
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(refused > 0)
            refs.removeFirst(20)
            #expect(try await late.id.job != .none)
        }
    }

    @Test func whatIsLargerThanTheStoreIsRefusedAtOnce() async throws {
        try await withStore(sessions: 1) { node, sessions in
            let error = await failure { _ = try await sessions[0].put(bytes: pattern(33 * Self.mib), within: nil) }
            #expect(error?.code == .storeFull)
            #expect(error?.message.contains("the whole store has 33554432") == true)
        }
    }

    @Test func aDeadlineEndsTheWait() async throws {
        try await withStore(sessions: 2) { node, sessions in
            var refs = try fill(sessions[0])
            let error = await failure {
                _ = try await sessions[1].put(bytes: pattern(4 * Self.mib), within: .milliseconds(150))
            }
            #expect(error?.code == .timedOut)
            #expect(error?.message.contains("found no room in") == true)
            #expect(await node.waitingForRoom == 0)
            refs.removeAll()
            #expect(try sessions[1].put(bytes: pattern(31 * Self.mib)).id.job != .none)
        }
    }

    @Test func aCancelledPutLeavesTheQueueAndNothingElse() async throws {
        try await withStore(sessions: 2) { node, sessions in
            var refs = try fill(sessions[0])
            for delay in 0..<20 {
                try await putAndCancel(delay, sessions[1], node, &refs)
                for _ in 0..<(delay >= 5 ? 4 : 0) {
                    refs.append(try await sessions[0].put(bytes: [UInt8](repeating: 1, count: Self.mib), within: .seconds(60)))
                }
            }
            refs.removeAll()
            let whole = try await sessions[0].put(bytes: [UInt8](repeating: 1, count: 31 * Self.mib), within: .seconds(60))
            withExtendedLifetime(whole) {}
        }
    }

    /// A function of its own, so that what was put goes with the task.
    private func putAndCancel(_ delay: Int, _ session: Session, _ node: Node, _ refs: inout [ObjectRef<Bytes>]) async throws {
        let task = Task { try await session.put(bytes: [UInt8](repeating: 2, count: 4 * Self.mib), within: nil) }
        if delay < 10 { #expect(await waits(1, at: node)) }
        // From some of these on it is served before it is cancelled.
        if delay >= 5 { refs.removeFirst(min(refs.count, 4)) }
        try? await Task.sleep(for: .microseconds(delay * 100))
        task.cancel()
        if case .failure(let error) = await task.result { #expect((error as? RayStoreError)?.code == .cancelled) }
        #expect(await waits(0, at: node))
    }

    @Test func aSessionThatEndsLeavesTheQueue() async throws {
        try await withStore(sessions: 3) { node, sessions in
            let refs = try fill(sessions[0])
            let task = Task { try await sessions[1].put(bytes: pattern(4 * Self.mib), within: nil) }
            #expect(await waits(1, at: node))
            await sessions[1].close()
            #expect((try? await task.value) == nil)
            #expect(await waits(0, at: node))
            withExtendedLifetime(refs) {}
        }
    }

    @Test func aStoppedNodeEndsTheWaits() async throws {
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(capacity: 32 << 20)
        let session = try await Session.connect(socket: node.socketPath)
        let refs = try fill(session)
        let task = Task { try await session.put(bytes: pattern(4 * Self.mib), within: nil) }
        #expect(await waits(1, at: node))
        await node.stop()
        #expect((try? await task.value) == nil)
        await session.close()
        await cluster.stop()
        withExtendedLifetime(refs) {}
    }

    // MARK: Quotas

    @Test func aClientBeyondItsQuotaIsToldSoWhenMemoryIsShort() async throws {
        try await withStore(sessions: 2, configure: { $0.clientQuota = 8 << 20 }) { node, sessions in
            // While there is room nobody is counted.
            let mine = try fill(sessions[1], 10)
            let others = try fill(sessions[0], 21)
            let error = await failure { _ = try await sessions[1].put(bytes: pattern(2 * Self.mib), within: nil) }
            #expect(error?.code == .storeFull)
            #expect(error?.message.contains("a client's quota is 8388608") == true)
            #expect(error?.message.contains("has 10526720 bytes") == true)
            withExtendedLifetime((mine, others)) {}
        }
    }

    @Test func aClientWithinItsQuotaWaitsForItsRoom() async throws {
        try await withStore(sessions: 2, configure: { $0.clientQuota = 8 << 20 }) { node, sessions in
            let mine = try fill(sessions[1], 4)
            var others = try fill(sessions[0], 27)
            async let late = sessions[1].put(bytes: pattern(3 * Self.mib), within: .seconds(60))
            #expect(await waits(1, at: node))
            // What it waits for counts, too.
            let error = await failure { _ = try await sessions[1].put(bytes: pattern(2 * Self.mib), within: nil) }
            #expect(error?.message.contains("waits for 31457") == true)
            others.removeFirst(8)
            let ref = try await late
            withExtendedLifetime((mine, others, ref)) {}
        }
    }

    @Test func aJobBeyondItsQuotaIsToldSo() async throws {
        try await withStore(sessions: 1, configure: { $0.jobQuota = 8 << 20 }) { node, sessions in
            let second = try await Session.connect(socket: node.socketPath, job: sessions[0].job)
            let mine = try fill(sessions[0], 20)
            let more = try fill(second, 11)
            let error = await failure { _ = try await second.put(bytes: pattern(2 * Self.mib), within: nil) }
            #expect(error?.code == .storeFull)
            #expect(error?.message.contains("a job's quota is 8388608") == true)
            await second.close()
            withExtendedLifetime((mine, more)) {}
        }
    }

    // MARK: Pulls

    @Test func aPullIntoAFullStoreWaits() async throws {
        try await withNodes(1) { cluster, _, sessions in
            let small = try await cluster.addNode(capacity: 32 << 20)
            let taker = try await Session.connect(socket: small.socketPath)
            let bytes = pattern(12 << 20)
            let there = try await taker.open(sessions[0].put(bytes: bytes).shared())
            var refs = try fill(taker)
            async let got = taker.get(there)
            #expect(await waits(1, at: small))
            refs.removeFirst(20)
            #expect(equal(try await got, bytes))
            await taker.close()
        }
    }

    @Test func aPullThatGivesUpItsWaitLeavesNothing() async throws {
        try await withNodes(1) { cluster, _, sessions in
            let small = try await cluster.addNode(capacity: 32 << 20)
            let taker = try await Session.connect(socket: small.socketPath)
            let there = try await taker.open(sessions[0].put(bytes: pattern(12 << 20)).shared())
            var refs = try fill(taker)
            let error = await failure { _ = try await taker.get(there, timeout: .milliseconds(200)) }
            #expect(error?.code == .timedOut)
            #expect(await waits(0, at: small))
            refs.removeAll()
            let whole = try taker.put(bytes: pattern(31 << 20))
            withExtendedLifetime(whole) {}
            await taker.close()
        }
    }

    @Test func aPartThatIsReadIntoAFullStoreWaits() async throws {
        try await withNodes(1) { cluster, _, sessions in
            let small = try await cluster.addNode(capacity: 32 << 20)
            let taker = try await Session.connect(socket: small.socketPath)
            let bytes = pattern(40 << 20)
            let there = try await taker.open(sessions[0].put(bytes: bytes).shared())
            var refs = try fill(taker)
            async let part = taker.read(there, 1000..<1000 + 8 << 20)
            #expect(await waits(1, at: small))
            refs.removeFirst(20)
            #expect(try await part.count == 8 << 20)
            await taker.close()
        }
    }

    @Test func aPullThatFindsNoRoomSaysWhy() async throws {
        try await withNodes(1) { cluster, _, sessions in
            let small = try await cluster.addNode(capacity: 32 << 20) { $0.roomGrace = .milliseconds(200) }
            let taker = try await Session.connect(socket: small.socketPath)
            let there = try await taker.open(sessions[0].put(bytes: pattern(12 << 20)).shared())
            let refs = try fill(taker)
            let error = await failure { _ = try await taker.get(there) }
            #expect(error?.code == .storeFull)
            #expect(error?.message.components(separatedBy: "spilling is off").count == 2)
            #expect(error?.message.contains("nothing more can be freed") == true)
            await taker.close()
            withExtendedLifetime(refs) {}
        }
    }
}

/// Small objects of those who put until they are told to end; the oldest are given up when memory is short.
private final class Crowd: MemoryReliever {
    private let state = Mutex((refs: [ObjectRef<Bytes>](), puts: 0, isOver: false))

    var puts: Int { state.withLock { $0.puts } }
    var isOver: Bool { state.withLock { $0.isOver } }

    func add(_ ref: ObjectRef<Bytes>) {
        state.withLock {
            $0.refs.append(ref)
            $0.puts += 1
        }
    }

    func end() {
        state.withLock { $0.isOver = true }
    }

    func drop() {
        let all = state.withLock { state in
            defer { state.refs = [] }
            return state.refs
        }
        withExtendedLifetime(all) {}
    }

    func free(_ bytes: UInt64, while isWanted: @Sendable () async -> Bool) async -> UInt64 {
        let gone = state.withLock { state in
            let count = min(state.refs.count, Int(bytes >> 20) + 1)
            defer { state.refs.removeFirst(count) }
            return Array(state.refs.prefix(count))
        }
        return UInt64(gone.count) << 20
    }
}

/// Gives up what it was handed, a few at a time.
private final class RecordingReliever: MemoryReliever {
    let refs = Mutex<[ObjectRef<Bytes>]>([])
    let asked = Mutex<[UInt64]>([])

    func free(_ bytes: UInt64, while isWanted: @Sendable () async -> Bool) async -> UInt64 {
        asked.withLock { $0.append(bytes) }
        let gone = refs.withLock { refs in
            defer { refs.removeFirst(min(3, refs.count)) }
            return Array(refs.prefix(3))
        }
        return UInt64(gone.count) << 20
    }
}
