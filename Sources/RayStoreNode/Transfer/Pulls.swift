// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// The pulls under way: one for an object, however many wait for it.
///
/// A waiter that gives up disturbs nobody; when the last one does, the pull ends, unless it was asked to linger.
actor Pulls {
    private struct Waiter {
        let continuation: CheckedContinuation<Result<Void, RayStoreError>, Never>
        /// It has a time of its own after which it gives up.
        let isLimited: Bool
    }
    typealias Observer = @Sendable (ray_transfer_progress) -> Void

    private struct Running {
        var task: Task<Void, Never>
        var waiters: [UInt64: Waiter] = [:]
        var lingers = false
        /// Cancelled, and not over yet: whoever wants the object now waits for its end and starts anew.
        var isEnding = false
        /// What its waiters are told, when it was not they who ended it.
        var endReason: RayStoreError?
        let observers: ObserverList
        let urgency: PullUrgency
        let begin: Duration
    }

    private var running: [ObjectID: Running] = [:]
    private var nextTicket: UInt64 = 0
    private let clock: any NodeClock
    private let metrics: NodeMetrics?
    nonisolated let explain: @Sendable (RayStoreError) -> RayStoreError

    /// - Parameters:
    ///   - metrics: hears of the end of each; nil for what comes from no other node.
    ///   - explain: adds to a failure what the node knows of it.
    init(clock: any NodeClock, metrics: NodeMetrics?, explain: @escaping @Sendable (RayStoreError) -> RayStoreError) {
        self.clock = clock
        self.metrics = metrics
        self.explain = explain
    }

    /// How many are under way.
    var count: Int { running.count }

    /// Waits for the object, starting `work` if nobody has yet; if somebody has, it becomes as urgent as this, if it was less.
    ///
    /// - Parameter isLimited: the caller gives up after some time.
    /// - Throws: why it does not come; `cancelled` with what the pull waited for when the caller gives up.
    func fetch(
        _ id: ObjectID, lingering: Bool, urgency: TransferTuning.Urgency, isLimited: Bool = false, observer: Observer?,
        work: @escaping @Sendable (@escaping Observer, PullUrgency) async throws(RayStoreError) -> Void
    ) async throws(RayStoreError) {
        nextTicket += 1
        let ticket = nextTicket
        while let ending = running[id], ending.isEnding {
            await ending.task.value
        }
        if running[id] == nil {
            let observers = ObserverList()
            let dial = PullUrgency(urgency)
            let task = Task {
                let result: Result<Void, RayStoreError>
                do throws(RayStoreError) {
                    try await work({ observers.notify($0) }, dial)
                    result = .success(())
                } catch {
                    result = .failure(self.explain(error))
                }
                self.finish(id, result)
            }
            running[id] = Running(task: task, observers: observers, urgency: dial, begin: clock.now)
        }
        running[id]?.urgency.raise(to: urgency)
        if lingering { running[id]?.lingers = true }
        if let observer { running[id]?.observers.add(ticket, observer) }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                running[id]?.waiters[ticket] = Waiter(continuation: continuation, isLimited: isLimited)
                if Task.isCancelled { leave(id, ticket) }
            }
        } onCancel: {
            Task { await self.leave(id, ticket) }
        }
        try result.get()
    }

    /// Ends a pull whose object has ended; who waits for it is told why.
    func cancel(_ id: ObjectID, because reason: RayStoreError?) {
        running[id]?.isEnding = true
        running[id]?.endReason = reason
        running[id]?.task.cancel()
    }

    func cancelAll(because reason: RayStoreError) {
        for id in running.keys { cancel(id, because: reason) }
    }

    private func leave(_ id: ObjectID, _ ticket: UInt64) {
        guard var pull = running[id] else { return }
        pull.observers.remove(ticket)
        let waiter = pull.waiters.removeValue(forKey: ticket)
        running[id] = pull
        let message = WaitReason.append(pull.urgency.hindrance, to: "the get of \(id) was cancelled")
        waiter?.continuation.resume(returning: .failure(RayStoreError(.cancelled, message, object: id)))
        if pull.waiters.isEmpty && !pull.lingers { cancel(id, because: nil) }
    }

    private func finish(_ id: ObjectID, _ result: Result<Void, RayStoreError>) {
        guard let pull = running.removeValue(forKey: id) else { return }
        var result = result
        if case .failure = result, let reason = pull.endReason { result = .failure(reason) }
        metrics?.pullEnded(result.failure, after: clock.now - pull.begin)
        for waiter in pull.waiters.values { waiter.continuation.resume(returning: result) }
    }

    /// Ends the waits of those who have no time of their own.
    ///
    /// - Returns: whether anybody waits on.
    func endUnlimited(_ id: ObjectID, because reason: RayStoreError) -> Bool {
        guard var pull = running[id] else { return false }
        let ended = pull.waiters.filter { !$0.value.isLimited }
        for ticket in ended.keys {
            pull.waiters[ticket] = nil
            pull.observers.remove(ticket)
        }
        running[id] = pull
        for waiter in ended.values { waiter.continuation.resume(returning: .failure(explain(reason))) }
        return !pull.waiters.isEmpty
    }

    /// Another node has the object now.
    func offer(_ source: BulkEndpoint, of id: ObjectID) {
        running[id]?.urgency.offer(source)
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}

/// Who watches a pull; told from the engine's threads.
private final class ObserverList: Sendable {
    private let observers = Mutex<[UInt64: Pulls.Observer]>([:])

    func add(_ ticket: UInt64, _ observer: @escaping Pulls.Observer) {
        observers.withLock { $0[ticket] = observer }
    }

    func remove(_ ticket: UInt64) {
        observers.withLock { _ = $0.removeValue(forKey: ticket) }
    }

    func notify(_ progress: ray_transfer_progress) {
        let all = observers.withLock { Array($0.values) }
        for observer in all { observer(progress) }
    }
}
