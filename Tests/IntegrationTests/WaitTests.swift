// SPDX-License-Identifier: Apache-2.0
import RayStore
import TestSupport
import Testing

/// Waiting for objects that another node's processes make.
@Suite(.serialized) struct WaitTests {
    private static let size = 300_000

    /// A cluster of two with a process of the second that seals objects when it is told, and their refs in a session of the first.
    private func withLateObjects(
        _ count: Int, _ body: (Session, TestProcess, [ObjectRef<Bytes>]) async throws -> Void
    ) async throws {
        try await withCluster(2) { cluster in
            let maker = try TestProcess("raystore-test-client", ["late", cluster.members[1].socket, "\(count)", "\(Self.size)"])
            defer { maker.end() }
            let texts = try #require(await maker.output(until: "ready"))
            let session = try await cluster.session(0)
            var refs: [ObjectRef<Bytes>] = []
            for text in texts { refs.append(try await session.open(text, as: Bytes.self)) }
            #expect(refs.count == count)
            try await body(session, maker, refs)
            await session.close()
        }
    }

    private func seal(_ number: Int, _ maker: TestProcess) async throws {
        try maker.tell("\(number)")
        #expect(await maker.nextLine() == "sealed")
    }

    @Test(arguments: [true, false])
    func whatIsReadyElsewhereIsToldFromWhatIsNot(fetchLocal: Bool) async throws {
        try await withLateObjects(4) { session, maker, refs in
            try await seal(1, maker)
            try await seal(3, maker)
            let (ready, pending) = try await session.wait(
                refs, count: 4, timeout: .seconds(1), fetchLocal: fetchLocal)
            #expect(ready == [refs[1], refs[3]])
            #expect(pending == [refs[0], refs[2]])
            #expect(try session.contains(refs[3]) == fetchLocal)
            #expect(try !session.contains(refs[0]))
            // More are ready than are asked for: the rest is pending.
            let one = try await session.wait(refs, count: 1, timeout: .seconds(20), fetchLocal: fetchLocal)
            #expect(one.ready == [refs[1]])
            #expect(one.pending == [refs[0], refs[2], refs[3]])
        }
    }

    @Test(arguments: [true, false])
    func whatIsSealedElsewhereMeanwhileEndsTheWait(fetchLocal: Bool) async throws {
        try await withLateObjects(3) { session, maker, refs in
            async let both = session.wait(refs, count: 2, timeout: .seconds(60), fetchLocal: fetchLocal)
            // The wait is under way once the node has asked; either way it must end.
            try await seal(2, maker)
            try await seal(0, maker)
            let (ready, pending) = try await both
            #expect(ready == [refs[0], refs[2]])
            #expect(pending == [refs[1]])
            let bytes = try await session.get([refs[2], refs[0]])
            #expect(bytes.map { Array($0) } == [2, 0].map { [UInt8](repeating: $0, count: Self.size) })
        }
    }

    @Test func aWaitEndsAtItsTimeoutWithWhatItHas() async throws {
        try await withLateObjects(2) { session, maker, refs in
            let start = ContinuousClock.now
            let none = try await session.wait(refs, count: 1, timeout: .milliseconds(300))
            #expect(ContinuousClock.now - start >= .milliseconds(300))
            #expect(none.ready.isEmpty)
            #expect(none.pending == refs)
            let look = try await session.wait(refs, count: 2, timeout: .zero, fetchLocal: false)
            #expect(look.ready.isEmpty)
            // A wait that ended leaves nothing that could not be waited for again.
            try await seal(0, maker)
            #expect(try await session.wait(refs, count: 1, timeout: .seconds(60)).ready == [refs[0]])
        }
    }

    @Test func aGetWaitsForAnObjectThatAnotherNodeIsMaking() async throws {
        try await withLateObjects(2) { session, maker, refs in
            let late = await failure { _ = try await session.get(refs, timeout: .milliseconds(300)) }
            #expect(late?.code == .timedOut)
            #expect(late?.message.contains("\(refs[0].id)") == true)
            async let bytes = session.get(refs, timeout: .seconds(60))
            try await seal(1, maker)
            try await seal(0, maker)
            #expect(try await bytes.map { $0[0] } == [0, 1])
        }
    }

    /// The maker dies before it has sealed: a wait ends, for there is a failure to be had.
    @Test func aMakerThatDiesEndsTheWaitForItsObject() async throws {
        try await withLateObjects(2) { session, maker, refs in
            try await seal(1, maker)
            async let both = session.wait(refs, count: 2, timeout: .seconds(60))
            maker.end()
            #expect(try await both.ready == refs)
            let error = await failure { _ = try await session.get(refs[0], timeout: .seconds(20)) }
            #expect(error != nil && error?.code != .timedOut)
            #expect(error?.object == refs[0].id)
        }
    }
}
