// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import Synchronization

/// The ways to the other nodes: one queue each, so that what is said to a node arrives in the order in which it was said. A ref that is
/// released and then borrowed again must not be released last. `tell` is therefore synchronous: whoever decides also queues.
final class PeerLinks: Sendable {
    private let transport: any Transport
    private let clock: any NodeClock
    private let peers: Peers
    private let log: Logger
    private let links = Mutex<[NodeID: Link]>([:])

    private struct Link: Sendable {
        let messages: AsyncStream<Message>.Continuation
        let worker: Task<Void, Never>
    }

    private struct Message: Sendable {
        let request: PeerRequest
        /// Nil for what must arrive: it is sent again until the node answers or is gone.
        let answer: (@Sendable (Result<PeerAnswer, RayStoreError>) -> Void)?
    }

    init(transport: any Transport, clock: any NodeClock, peers: Peers, log: Logger) {
        self.transport = transport
        self.clock = clock
        self.peers = peers
        self.log = log
    }

    /// Tells a node something that it must hear, for as long as it lives.
    func tell(_ node: NodeID, _ request: PeerRequest) {
        _ = link(to: node)?.yield(Message(request: request, answer: nil))
    }

    /// Asks a node, in its turn.
    func ask(_ node: NodeID, _ request: PeerRequest) async throws(RayStoreError) -> PeerAnswer {
        guard let link = link(to: node) else { throw Self.gone(node) }
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<_, Never>) in
            let accepted = link.yield(Message(request: request) { continuation.resume(returning: $0) })
            if case .terminated = accepted {
                continuation.resume(returning: Result<PeerAnswer, RayStoreError>.failure(Self.gone(node)))
            }
        }
        return try result.get()
    }

    /// Asks a node out of turn; for questions whose order does not matter.
    func askAside(_ node: NodeID, _ request: PeerRequest) async throws(RayStoreError) -> PeerAnswer {
        guard let description = peers[node] else { throw Self.gone(node) }
        return try await transport.call(request, on: description)
    }

    /// Ends the way to a node that is gone; what was waiting fails.
    func close(_ node: NodeID) {
        let link = links.withLock { $0.removeValue(forKey: node) }
        link?.messages.finish()
        link?.worker.cancel()
    }

    func closeAll() {
        for node in links.withLock({ Array($0.keys) }) { close(node) }
    }

    /// Waits until all that was told has been said, for so long at most.
    func drain(for limit: Duration) async {
        let open = links.withLock { Array($0.values) }
        for link in open { link.messages.finish() }
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for link in open { await link.worker.value }
                return true
            }
            group.addTask { [clock] in
                try? await clock.sleep(for: limit)
                return false
            }
            if await group.next() == false {
                // A worker that is cancelled gives its messages up, so the first task ends too.
                for link in open { link.worker.cancel() }
            }
            group.cancelAll()
        }
    }

    private func link(to node: NodeID) -> AsyncStream<Message>.Continuation? {
        guard peers[node] != nil else { return nil }
        return links.withLock { links in
            if let link = links[node] { return link.messages }
            let (messages, continuation) = AsyncStream.makeStream(of: Message.self)
            let worker = Task { await self.work(through: messages, for: node) }
            links[node] = Link(messages: continuation, worker: worker)
            return continuation
        }
    }

    private func work(through messages: AsyncStream<Message>, for node: NodeID) async {
        for await message in messages {
            let result = await deliver(message, to: node)
            if let answer = message.answer {
                answer(result)
            } else if case .failure(let error) = result {
                log.debug("not told", metadata: ["node": "\(node.short)", "reason": "\(error.message)"])
            }
        }
    }

    private func deliver(_ message: Message, to node: NodeID) async -> Result<PeerAnswer, RayStoreError> {
        var pause = Duration.milliseconds(50)
        while let description = peers[node], !Task.isCancelled {
            do throws(RayStoreError) {
                return .success(try await transport.call(message.request, on: description))
            } catch {
                // What the node itself answered is an answer; only silence is tried again.
                let isSilence = error.code == .unreachable || error.code == .timedOut
                if message.answer != nil || !isSilence { return .failure(error) }
            }
            try? await clock.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
        return .failure(Self.gone(node))
    }

    private static func gone(_ node: NodeID) -> RayStoreError {
        RayStoreError(.nodeDied, "node \(node.short) is not in the cluster any more")
    }
}
