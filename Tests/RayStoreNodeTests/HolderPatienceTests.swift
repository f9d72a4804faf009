// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// Gets with a time of their own and without one, of the same object, whose last holder is gone in the middle.
///
/// The owner's copy was spilled and its file removed; the only holder is reached through a proxy that is cut, and the cluster gives it up. With
/// room in its store the owner pulls its object too, and stands still with it.
@Suite(.serialized) struct HolderPatienceTests {
    private static let size = 32 << 20
    private static let tuning = TransferTuning(codec: .none, chunkSize: .mebibytes(1), window: .mebibytes(2))
    /// What lay in buffers when the link went is sent again.
    private static let slack = 8 << 20

    /// Keeps a store full.
    private final class Filling {
        private let pinned: PinnedObject
        init(_ pinned: consuming PinnedObject) { self.pinned = pinned }
    }

    /// A get under way.
    private final class Get: Sendable {
        private let state = Mutex((done: 0, hasEnded: false))
        let task: Task<RayStoreError?, Never>

        init(_ session: Session, _ text: String, timeout: Duration?) async throws {
            let ref: ObjectRef<Bytes> = try await session.open(text)
            let (steps, step) = AsyncStream.makeStream(of: Int.self)
            task = Task {
                defer { step.finish() }
                return await failure {
                    let bytes = try await session.get(
                        ref, timeout: timeout, tuning: HolderPatienceTests.tuning, progress: { step.yield($0.done.bytes) })
                    #expect(equal(bytes, pattern(HolderPatienceTests.size)))
                }
            }
            Task {
                for await done in steps { self.state.withLock { $0.done = done } }
                self.state.withLock { $0.hasEnded = true }
            }
        }

        var done: Int { state.withLock { $0.done } }
        var hasEnded: Bool { state.withLock { $0.hasEnded } }
    }

    @Test(.timeLimit(.minutes(3)), arguments: [(true, false), (false, false), (true, true)])
    func whoHasNoLimitGivesUpAndTheOthersKeepWhatHasCome(limitedIsFirst: Bool, ownerHasRoom: Bool) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let cluster = try await LocalCluster()
        let owner = try await cluster.addNode(
            capacity: 48 << 20, storage: FilesystemStorage(directories: [scratch.path + "/spill"], owner: "node"))
        let joins = Mutex(0)
        let control = ProxiedControl(cluster.control) { port in
            let isFirst = joins.withLock { joins in
                joins += 1
                return joins == 1
            }
            return try FlippingProxy(to: port, cutAt: isFirst ? Self.size / 2 : nil)
        }
        let holder = try await cluster.addNode(control: control)
        let reader = try await cluster.addNode { $0.holderPatience = .seconds(1) }
        var sessions: [Session] = []
        for node in [owner, holder, reader, reader] { sessions.append(try await Session.connect(socket: node.socketPath)) }

        let ref = try sessions[0].put(bytes: pattern(Self.size))
        let text = try await ref.shared().text
        let held: ObjectRef<Bytes> = try await sessions[1].open(text)
        _ = try await sessions[1].get(held).count
        var filling: Filling?
        if ownerHasRoom {
            try await spillAll(of: owner, until: { try !sessions[0].contains(ref) })
        } else {
            filling = Filling(
                try await sessions[0].pin(sessions[0].put(bytes: pattern(Self.size, seed: 2), within: .seconds(30))))
            #expect(try !sessions[0].contains(ref))
        }
        #expect(unlink(try #require(owner.spillLocation(of: ref.id)).file) == 0)

        let proxy = try #require(control.proxies.first)
        let limits: [Duration?] = limitedIsFirst ? [.seconds(600), nil] : [nil, .seconds(600)]
        let first = try await Get(sessions[2], text, timeout: limits[0])
        // The owner may be the first at the holder, and have all that comes before the cut.
        #expect(await eventually(within: .seconds(30)) { first.done > 0 || ownerHasRoom && proxy.passedCount > 0 })
        let second = try await Get(sessions[3], text, timeout: limits[1])
        #expect(await eventually(within: .seconds(30)) { proxy.refusedCount > 0 })
        let (limited, unlimited) = limitedIsFirst ? (first, second) : (second, first)
        try await cluster.control.leave(holder.description.id)

        #expect(await eventually(within: .seconds(60)) { unlimited.hasEnded })
        // Else it would be waited for until the other one's limit.
        if unlimited.hasEnded {
            let error = await unlimited.task.value
            #expect(error?.code == .objectLost, "\(String(describing: error))")
            #expect(error?.message.contains("waits for a new holder") == true)
        }
        #expect(!limited.hasEnded)

        proxy.mend()
        try await holder.rejoin()
        let error = await limited.task.value
        #expect(error == nil)
        // What the owner had of it goes the same way.
        if !ownerHasRoom {
            #expect(proxy.passedCount >= Self.size && proxy.passedCount <= Self.size + Self.slack, "\(proxy.passedCount) bytes")
        }
        withExtendedLifetime(filling) {}
        unlimited.task.cancel()

        for session in sessions { await session.close() }
        for proxy in control.proxies { proxy.stop() }
        await cluster.stop()
    }
}
