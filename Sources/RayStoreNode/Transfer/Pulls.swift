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
        let since: Duration
    }
    typealias Observer = @Sendable (ray_transfer_progress) -> Void
    /// Asks the owner why the object does not come: `noHolder` while nobody has it and somebody may have it again, another failure when it comes no
    /// more; nil when somebody has it, or the owner does not answer.
    typealias Inquiry = @Sendable () async -> RayStoreError?

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
        let inquire: Inquiry?
        /// An inquiry is under way.
        var isAsking = false
    }

    private var running: [ObjectID: Running] = [:]
    private var nextTicket: UInt64 = 0
    private let clock: any NodeClock
    private let metrics: NodeMetrics?
    private let holderPatience: Duration
    /// Looks now and then at the pulls that stand still; runs while there are any.
    private var watch: Task<Void, Never>?
    nonisolated let explain: @Sendable (RayStoreError) -> RayStoreError

    /// - Parameters:
    ///   - metrics: hears of the end of each; nil for what comes from no other node.
    ///   - holderPatience: for how long who has no time of its own waits, from the latest arrival on, while nobody has the object.
    ///   - explain: adds to a failure what the node knows of it.
    init(
        clock: any NodeClock, metrics: NodeMetrics?, holderPatience: Duration = .seconds(60),
        explain: @escaping @Sendable (RayStoreError) -> RayStoreError
    ) {
        self.clock = clock
        self.metrics = metrics
        self.holderPatience = holderPatience
        self.explain = explain
    }

    /// How many are under way.
    var count: Int { running.count }

    /// Waits for the object, starting `work` if nobody has yet; if somebody has, it becomes as urgent as this, if it was less.
    ///
    /// - Parameters:
    ///   - isLimited: the caller gives up after some time.
    ///   - inquire: asked when nothing has come for long and somebody waits without a time; nil: what holds it up is not the owner's to say.
    /// - Throws: why it does not come; `cancelled` with what the pull waited for when the caller gives up.
    func fetch(
        _ id: ObjectID, lingering: Bool, urgency: TransferTuning.Urgency, isLimited: Bool = false, observer: Observer?,
        inquire: Inquiry? = nil,
        work: @escaping @Sendable (@escaping Observer, PullUrgency) async throws(RayStoreError) -> Void
    ) async throws(RayStoreError) {
        nextTicket += 1
        let ticket = nextTicket
        while let ending = running[id], ending.isEnding {
            await ending.task.value
        }
        if running[id] == nil {
            let observers = ObserverList()
            let dial = PullUrgency(urgency, at: clock.now)
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
            running[id] = Running(
                task: task, observers: observers, urgency: dial, begin: clock.now, inquire: inquire)
            if inquire != nil { beginWatch() }
        }
        running[id]?.urgency.raise(to: urgency)
        if lingering { running[id]?.lingers = true }
        if let observer { running[id]?.observers.add(ticket, observer) }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                running[id]?.waiters[ticket] = Waiter(continuation: continuation, isLimited: isLimited, since: clock.now)
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
        watch?.cancel()
        watch = nil
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

    /// Another node has the object now.
    func offer(_ source: BulkEndpoint, of id: ObjectID) {
        running[id]?.urgency.offer(source)
    }
}

// MARK: - Standing still

// Who waits has a time of its own, or has none and waits a minute for a holder. A pull is one for both, so it goes on, with what has come, as
// long as anybody waits, and it is not the pull that ends the wait of those without a time.
extension Pulls {
    private func beginWatch() {
        guard watch == nil else { return }
        watch = Task { [weak self, clock, holderPatience] in
            while (try? await clock.sleep(for: holderPatience / 16)) != nil, await self?.look() == true {}
        }
    }

    /// - Returns: whether there is anything to look at.
    private func look() -> Bool {
        if Task.isCancelled { return false }
        guard !running.isEmpty else {
            watch = nil
            return false
        }
        for (id, pull) in running where isDue(pull) && !pull.isAsking {
            running[id]!.isAsking = true
            Task { await self.judge(id, pull) }
        }
        return true
    }

    /// Whether nothing has come for so long that somebody should give up.
    private func isDue(_ pull: Running) -> Bool {
        let since = clock.now - holderPatience
        guard pull.inquire != nil, !pull.isEnding, pull.urgency.lastArrival <= since else { return false }
        return pull.waiters.isEmpty || pull.waiters.values.contains { !$0.isLimited && $0.since <= since }
    }

    private func judge(_ id: ObjectID, _ asked: Running) async {
        let reason = await asked.inquire?()
        guard let pull = running[id], pull.urgency === asked.urgency else { return }
        running[id]!.isAsking = false
        guard let reason, isDue(pull) else { return }
        if reason.code == .noHolder {
            endUnlimited(id, because: RayStoreError(.objectLost, reason.message, object: id))
        } else {
            cancel(id, because: explain(reason))
        }
    }

    /// Ends the waits of those who have no time of their own and have waited for long enough.
    private func endUnlimited(_ id: ObjectID, because reason: RayStoreError) {
        let since = clock.now - holderPatience
        let reason = explain(reason)
        for (ticket, waiter) in running[id]!.waiters where !waiter.isLimited && waiter.since <= since {
            running[id]!.waiters[ticket] = nil
            running[id]!.observers.remove(ticket)
            waiter.continuation.resume(returning: .failure(reason))
        }
        if running[id]!.waiters.isEmpty { cancel(id, because: reason) }
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
