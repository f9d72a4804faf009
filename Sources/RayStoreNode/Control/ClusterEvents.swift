// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// Who lives, and who wants to hear of it. A subscriber's first events and the later ones leave no gap: both are given under one lock.
///
/// An event is given while that lock is held, and giving it takes the runtime's lock of the task that waits for it. The runtime says that
/// such a task was cancelled while it holds that very lock, so a subscriber's end is only noted, under a lock of its own.
final class ClusterEvents: Sendable {
    private struct State {
        var living: [NodeID: NodeDescription] = [:]
        var subscribers: [UInt64: AsyncStream<ClusterEvent>.Continuation] = [:]
        var nextSubscriber: UInt64 = 0
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Numbers of streams that have ended and are still among the subscribers. Nothing else is done under this lock.
    private let ended = Mutex<[UInt64]>([])

    /// The living nodes in the order of their numbers.
    var living: [NodeDescription] {
        state.withLock { $0.living.values.sorted { $0.number < $1.number } }
    }

    /// How many streams are open.
    var subscriberCount: Int {
        dropEnded()
        return state.withLock { $0.subscribers.count }
    }

    func isLiving(_ node: NodeID) -> Bool {
        state.withLock { $0.living[node] != nil }
    }

    /// Tells every subscriber. A join that says nothing new is not told.
    func publish(_ event: ClusterEvent) {
        dropEnded()
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
            self?.ended.withLock { $0.append(number) }
        }
        return stream
    }

    private func dropEnded() {
        let numbers = ended.withLock { ended in
            defer { ended = [] }
            return ended
        }
        guard !numbers.isEmpty else { return }
        // The continuations are let go outside the lock: their end may run code of the subscriber.
        let gone = state.withLock { state in numbers.map { state.subscribers.removeValue(forKey: $0) } }
        _ = gone
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
