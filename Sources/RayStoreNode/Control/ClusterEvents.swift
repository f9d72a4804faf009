// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// Who lives, and who wants to hear of it. A subscriber's first events and the later ones leave no gap: both are given under one lock.
final class ClusterEvents: Sendable {
    private struct State {
        var living: [NodeID: NodeDescription] = [:]
        var subscribers: [UInt64: AsyncStream<ClusterEvent>.Continuation] = [:]
        var nextSubscriber: UInt64 = 0
        var isClosed = false
    }

    private let state = Mutex(State())

    /// The living nodes in the order of their numbers.
    var living: [NodeDescription] {
        state.withLock { $0.living.values.sorted { $0.number < $1.number } }
    }

    /// How many streams are open.
    var subscriberCount: Int { state.withLock { $0.subscribers.count } }

    func isLiving(_ node: NodeID) -> Bool {
        state.withLock { $0.living[node] != nil }
    }

    /// Tells every subscriber. A join that says nothing new is not told.
    func publish(_ event: ClusterEvent) {
        state.withLock { state in
            switch event {
            case .nodeJoined(let node):
                if state.living.updateValue(node, forKey: node.id) == node { return }
            case .nodeGone(let node):
                state.living[node] = nil
            case .jobEnded:
                break
            }
            for subscriber in state.subscribers.values { subscriber.yield(event) }
        }
    }

    func subscribe() -> AsyncStream<ClusterEvent> {
        // Unbounded, because an event that is lost leaves a node believing in the dead; events are as rare as joins.
        let (stream, continuation) = AsyncStream.makeStream(of: ClusterEvent.self, bufferingPolicy: .unbounded)
        let number: UInt64? = state.withLock { state in
            if state.isClosed { return nil }
            state.nextSubscriber += 1
            state.subscribers[state.nextSubscriber] = continuation
            for node in state.living.values.sorted(by: { $0.number < $1.number }) {
                continuation.yield(.nodeJoined(node))
            }
            return state.nextSubscriber
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            // The continuation is let go outside the lock: its end may run code of the subscriber.
            let gone = self?.state.withLock { $0.subscribers.removeValue(forKey: number) }
            _ = gone
        }
        return stream
    }

    /// Ends all streams, now and for ever.
    func close() {
        let ended = state.withLock { state in
            state.isClosed = true
            defer { state.subscribers = [:] }
            return Array(state.subscribers.values)
        }
        for subscriber in ended { subscriber.finish() }
    }
}
