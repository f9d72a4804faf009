// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// A tuning on its way from a session through its node to the engine, and the caps of a node.
@Suite struct TuningTests {
    private final class Seen: Sendable {
        private let latest = Mutex<TransferProgress?>(nil)

        var progress: TransferProgress? { latest.withLock { $0 } }

        func note(_ progress: TransferProgress) {
            latest.withLock { $0 = progress }
        }
    }

    /// Two sessions on two nodes, of which the second is set up like this.
    private func withTwo(
        configure: (inout NodeOptions) -> Void = { _ in }, _ body: (Session, Session) async throws -> Void
    ) async throws {
        var count = 0
        try await withNodes(2) { options in
            count += 1
            if count == 2 { configure(&options) }
        } _: { _, _, sessions in
            try await body(sessions[0], sessions[1])
        }
    }

    @Test(arguments: [
        (TransferTuning(codec: .zstd(level: 5), chunkSize: .kibibytes(64)), 32, 0, 0, 32),
        (TransferTuning(codec: .lz4, chunkSize: .mebibytes(1)), 2, 0, 2, 0),
        (TransferTuning(codec: .none, connections: 1, window: .mebibytes(8)), 1, 1, 0, 0),
    ])
    func aGetIsDoneAsItsTuningSays(tuning: TransferTuning, chunks: Int, plain: Int, lz4: Int, zstd: Int) async throws {
        try await withTwo { here, there in
            let bytes = packable(2_000_000)
            let ref = try here.put(bytes: bytes)
            let seen = Seen()
            let copy = try await there.open(ref.shared())
            #expect(try await Array(there.get(copy, tuning: tuning) { seen.note($0) }) == bytes)
            let progress = try #require(seen.progress)
            #expect(
                progress.uncompressedChunks + progress.lz4Chunks + progress.zstdChunks == (2_000_000 - 1) * chunks / (2 << 20) + 1
            )
            #expect(
                (progress.uncompressedChunks > 0, progress.lz4Chunks > 0, progress.zstdChunks > 0) == (
                    plain > 0, lz4 > 0, zstd > 0
                ))
            if zstd > 0 { #expect(progress.zstdLevel == 5) }
        }
    }

    /// What is not told by progress: that every chunk came so, and because it was asked for.
    private func expectAsked(_ codec: String, level: Int = 0, _ ref: AnyObjectRef, _ session: Session) async throws {
        let explanation = try #require(try await session.transferExplanation(of: ref))
        let came = explanation.sources.flatMap(\.choices).filter { $0.chunks > 0 }
        #expect(came.map(\.codec) == [codec] && came.map(\.level) == [level] && came.map(\.reason) == [.asked])
    }

    /// The class that it would have by itself is so slow there that only another one brings it before the test's time is over.
    private static func slow(_ urgency: TransferTuning.Urgency) -> (inout NodeOptions) -> Void {
        { $0.caps.urgency[urgency] = .kibibytes(64) }
    }

    @Test(.timeLimit(.minutes(10))) func aWaitFetchesAsItsTuningSays() async throws {
        try await withTwo(configure: Self.slow(.wait)) { here, there in
            let bytes = packable(24 << 20)
            let ref = try await there.open(try here.put(bytes: bytes).shared())
            let (ready, _) = try await there.wait(
                [ref], timeout: .seconds(60), tuning: .init(codec: .none, urgency: .background))
            #expect(ready.count == 1)
            try await expectAsked("none", ref, there)
            #expect(try await Array(there.get(ref, timeout: .zero)) == bytes)
        }
    }

    @Test(.timeLimit(.minutes(10))) func aReadIsDoneAsItsTuningSays() async throws {
        try await withTwo(configure: Self.slow(.get)) { here, there in
            let bytes = packable(24 << 20)
            let ref = try await there.open(try here.put(bytes: bytes).shared())
            let seen = Seen()
            let tuning = TransferTuning(codec: .zstd(level: -2), chunkSize: .kibibytes(64), urgency: .background)
            let part = try await there.read(ref, 70_000..<(20 << 20), timeout: .seconds(60), tuning: tuning) { seen.note($0) }
            #expect(Array(part) == Array(bytes[70_000..<(20 << 20)]))
            // The chunks that the range touches, in the size that was asked for.
            let progress = try #require(seen.progress)
            #expect(progress.zstdChunks == 319 && progress.lz4Chunks + progress.uncompressedChunks == 0)
            try await expectAsked("zstd", level: -2, ref, there)
        }
    }

    @Test(.timeLimit(.minutes(10)), arguments: [false, true])
    func aPrefetchIsDoneAsItsTuningSays(isAskedElsewhere: Bool) async throws {
        try await withTwo(configure: Self.slow(.prefetch)) { here, there in
            let bytes = packable(24 << 20)
            let own = try here.put(bytes: bytes)
            let ref = try await there.open(own.shared())
            let tuning = TransferTuning(codec: .zstd(level: 4), urgency: .background)
            if isAskedElsewhere {
                try await here.prefetch(
                    own, on: there.nodeID, untilThere: true, timeout: .seconds(60), tuning: tuning)
            } else {
                try await there.prefetch(ref, untilThere: true, timeout: .seconds(60), tuning: tuning)
            }
            try await expectAsked("zstd", level: 4, ref, there)
        }
    }

    @Test func aTuningThatIsNotPossibleNamesItsField() async throws {
        try await withTwo { here, there in
            let ref = try await there.open(try here.put(bytes: packable(1 << 20)).shared())
            let impossible = TransferTuning(chunkSize: .mebibytes(3))
            await expectRefused("chunkSize") { _ = try await there.get(ref, tuning: impossible) }
            await expectRefused("chunkSize") { _ = try await there.pin(ref, tuning: impossible) }
            await expectRefused("chunkSize") { _ = try await there.wait([ref], tuning: impossible) }
            await expectRefused("chunkSize") { _ = try await there.read(ref, 0..<10, tuning: impossible) }
            await expectRefused("chunkSize") { try await there.prefetch(ref, tuning: impossible) }
        }
    }

    private func expectRefused(_ field: String, _ attempt: () async throws -> Void) async {
        await #expect {
            try await attempt()
        } throws: {
            let error = $0 as? RayStoreError
            return error?.code == .invalidArgument && error?.message.contains(field) == true
        }
    }

    /// At the background's cap the object would take minutes. Who needs it now joins the pull and makes it urgent.
    @Test func aGetMakesTheBackgroundsPullUrgent() async throws {
        try await withTwo {
            $0.caps.urgency[.background] = .kibibytes(64)
        } _: { here, there in
            let bytes = pattern(24 << 20)
            let ref = try await there.open(try here.put(bytes: bytes).shared())
            let began = Latch()
            let background = Task {
                try await Array(there.get(ref, tuning: .init(urgency: .background)) { _ in began.open() }).count
            }
            await began.wait()
            // The tuning of who joins does not hold, or this would take as long.
            #expect(try await Array(there.get(ref, tuning: .init(rateCap: .bytes(1000)))) == bytes)
            #expect(try await background.value == bytes.count)
        }
    }

    @Test(arguments: ["send", "receive", "urgency.prefetch"])
    func aCapThatIsTooLowNamesItself(name: String) async throws {
        let cluster = try await LocalCluster()
        await expectRefused("'\(name)'") {
            _ = try await cluster.addNode { options in
                switch name {
                case "send": options.caps.send = .bytes((64 << 10) - 1)
                case "receive": options.caps.receive = .zero
                default: options.caps.urgency[.prefetch] = .bytes(-1)
                }
            }
        }
        await cluster.stop()
    }
}

/// Opened once.
private final class Latch: Sendable {
    private let state = Mutex<(isOpen: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))

    func open() {
        let waiters = state.withLock { state in
            defer { state = (true, []) }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiters.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}
