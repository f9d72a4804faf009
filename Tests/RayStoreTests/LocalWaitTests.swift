// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Testing

@testable import RayStore

/// Waiting for what another client of the same node is making: shared memory tells, the node is not asked.
@Suite struct LocalWaitTests {
    /// An object that a session has created and not sealed, and another session's ref of it.
    struct Unsealed {
        let ref: ObjectRef<Bytes>
        let maker: Session
        var writer: ray_object_writer

        init(_ number: Int, by maker: Session, for taker: Session) async throws {
            var bytes = [UInt8](repeating: 7, count: 28)
            bytes[0] = UInt8(number % 256)
            bytes[1] = UInt8(number / 256)
            let id = ObjectID(bytes: bytes)!
            var made = ray_object_writer()
            try maker.handle.withStore { store throws(RayStoreError) in
                try RayStoreError.check {
                    id.withC { ray_object_create(store, &$0, 1, 0, UInt32(RAY_CREATE_WITH_REF), &made) }.rawValue
                }
            }
            made.data![0] = UInt8(number % 256)
            self.maker = maker
            writer = made
            ref = try await taker.open(id)
        }

        mutating func seal() throws {
            var last = writer
            try maker.handle.withStore { store throws(RayStoreError) in
                try RayStoreError.check { ray_object_seal(store, &last).rawValue }
            }
        }

        mutating func abort() throws {
            var last = writer
            try maker.handle.withStore { store throws(RayStoreError) in ray_object_abort(store, &last) }
        }
    }

    func unsealed(_ count: Int, by maker: Session, for taker: Session) async throws -> [Unsealed] {
        var made: [Unsealed] = []
        for number in 0..<count {
            made.append(try await Unsealed(number, by: maker, for: taker))
        }
        return made
    }

    @Test func aGetWaitsForAnotherProcessWithoutAskingTheNode() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let (maker, taker) = (try await node.connect(), try await node.connect())
        var made = try await unsealed(300, by: maker, for: taker)
        let refs = made.map(\.ref)
        // The list and, each in a task of its own, its members.
        async let all = taker.get(refs)
        let values = try await withThrowingTaskGroup(of: (Int, UInt8).self) { group in
            for (number, ref) in refs.enumerated() {
                group.addTask { (number, try await taker.get(ref)[0]) }
            }
            for index in made.indices {
                try made[index].seal()
                await Task.yield()
            }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        #expect(values == Dictionary(uniqueKeysWithValues: (0..<300).map { ($0, UInt8($0 % 256)) }))
        #expect(try await all.map { $0[0] } == (0..<300).map { UInt8($0 % 256) })
        #expect(node.requests(.get).isEmpty)
        await taker.close()
        await maker.close()
    }

    @Test func aWaitEndsWhenAsManyAreSealedAsWanted() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let (maker, taker) = (try await node.connect(), try await node.connect())
        var made = try await unsealed(4, by: maker, for: taker)
        let refs = made.map(\.ref)
        try made[3].seal()
        async let outcome = taker.wait(refs, count: 3)
        try made[1].seal()
        try made[2].seal()
        #expect(try await outcome.ready == Array(refs[1...]))
        let late = try await taker.wait(refs, count: 4, timeout: .milliseconds(20))
        #expect(late.pending == [refs[0]])
        #expect(node.requests(.wait).isEmpty)
        await taker.close()
        await maker.close()
    }

    @Test func whatItsMakerGivesUpIsAskedOfTheNode() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let (maker, taker) = (try await node.connect(), try await node.connect())
        var made = try await Unsealed(1, by: maker, for: taker)
        let ref = made.ref
        async let bytes = taker.get(ref)
        let wait = try LocalWait.begin([ref.id], wanted: 1, timeout: nil, over: taker.handle)
        try made.abort()
        guard case .changed = await wait.value() else {
            Issue.record("the wait did not end as it should")
            return
        }
        await eventually("the node is asked") { node.requests(.get).count == 1 }
        try node.seal(ref.id, data: [9])
        #expect(try await Array(bytes) == [9])
        await taker.close()
        await maker.close()
    }

    @Test func aCancelledGetDisturbsNoOther() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let (maker, taker) = (try await node.connect(), try await node.connect())
        var made = try await Unsealed(1, by: maker, for: taker)
        let ref = made.ref
        let kept = (0..<20).map { _ in Task { try await taker.get(ref)[0] } }
        let cancelled = Task { try await taker.get(ref)[0] }
        await Task.yield()
        cancelled.cancel()
        #expect(await code { _ = try await cancelled.value } == "CANCELLED")
        try made.seal()
        for task in kept {
            #expect(try await task.value == 1)
        }
        await taker.close()
        await maker.close()
    }

    @Test func atTheTimeoutTheMissingIsNamed() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let (maker, taker) = (try await node.connect(), try await node.connect())
        let made = try await Unsealed(1, by: maker, for: taker)
        let error = await #expect(throws: RayStoreError.self) {
            _ = try await taker.get(made.ref, timeout: .milliseconds(20))
        }
        #expect(error?.code == .timedOut && error?.object == made.ref.id)
        #expect(node.requests(.get).isEmpty && node.pinnedBytes == 0)
        await taker.close()
        await maker.close()
    }

    @Test(arguments: [true, false])
    func theEndOfTheSessionEndsItsWaits(nodeEnds: Bool) async throws {
        let node = try TestNode()
        defer { node.stop() }
        let (maker, taker) = (try await node.connect(), try await node.connect())
        let made = try await Unsealed(1, by: maker, for: taker)
        let wait = try LocalWait.begin([made.ref.id], wanted: 1, timeout: nil, over: taker.handle)
        if nodeEnds {
            node.stop()
        } else {
            await taker.close()
        }
        guard case .failed(let error) = await wait.value() else {
            Issue.record("the wait did not fail")
            return
        }
        #expect(error.code == (nodeEnds ? .nodeDied : .closed))
        await taker.close()
        await maker.close()
    }
}
