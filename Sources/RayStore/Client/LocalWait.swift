// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Synchronization

/// A wait for objects that processes of this machine are making: shared memory tells, the node is not asked.
///
/// It ends when as many as wanted are not being made any more, when the time is over, when the task is cancelled, or with the session.
/// All waits of a session share one thread, which sleeps on one word however many objects are waited for.
final class LocalWait: Sendable {
    enum Outcome: Sendable {
        /// Look again: as many as wanted are sealed, have failed, or have to be asked for.
        case changed
        case timedOut
        case failed(RayStoreError)
    }

    private struct State {
        var wanted: Int
        var outcome: Outcome?
        var tickets: [UInt64] = []
        var continuation: CheckedContinuation<Void, Never>?
        var latch: Latch?
    }

    private let handle: ClientHandle
    private let state: Mutex<State>

    private init(_ handle: ClientHandle, wanted: Int) {
        self.handle = handle
        state = Mutex(State(wanted: wanted))
    }

    /// Begins to wait; does not block.
    ///
    /// - Throws: `closed`, `nodeDied`, `outOfMemory`; then nothing is waited for.
    static func begin(
        _ ids: [ObjectID], wanted: Int, timeout: Duration?, over handle: ClientHandle
    ) throws(RayStoreError) -> LocalWait {
        let wait = LocalWait(handle, wanted: wanted)
        do throws(RayStoreError) {
            for id in ids where wait.outcome == nil {
                try wait.add(id, timeout.nanosecondsOrForever)
            }
        } catch {
            wait.withdraw()
            throw error
        }
        return wait
    }

    // Each wait of the core holds a reference to this one; its end, or its cancellation, takes it back.
    private func add(_ id: ObjectID, _ timeout: UInt64) throws(RayStoreError) {
        let context = Unmanaged.passRetained(self)
        var ticket: UInt64 = 0
        do throws(RayStoreError) {
            try handle.withClient { client throws(RayStoreError) in
                try RayStoreError.check(object: id) {
                    id.withC { ray_client_wait(client, &$0, timeout, Self.ended, context.toOpaque(), &ticket) }.rawValue
                }
            }
        } catch {
            context.release()
            throw error
        }
        if ticket == 0 {
            context.release()
            settle()
        } else {
            state.withLock { $0.tickets.append(ticket) }
        }
    }

    private static let ended: ray_waited_fn = { context, status in
        guard let context else { return }
        let wait = Unmanaged<LocalWait>.fromOpaque(context).takeRetainedValue()
        switch status {
        case .timedOut: wait.finish(.timedOut)
        case .closed, .nodeDied, .poisoned:
            let code = RayStoreError.Code(rawValue: status.rawValue)
            wait.finish(.failed(RayStoreError(code, "the session ended during a wait: \(code.text)")))
        default: wait.settle()
        }
    }

    // ---- the end ----

    private var outcome: Outcome? { state.withLock { $0.outcome } }

    private func settle() {
        let isEnough = state.withLock { state in
            state.wanted -= 1
            return state.wanted <= 0
        }
        if isEnough {
            finish(.changed)
        }
    }

    private func finish(_ outcome: Outcome) {
        let (continuation, latch) = state.withLock { state in
            if state.outcome == nil {
                state.outcome = outcome
            }
            defer { (state.continuation, state.latch) = (nil, nil) }
            return (state.continuation, state.latch)
        }
        continuation?.resume()
        latch?.open()
    }

    /// Takes back what has not ended. A closed session has ended all.
    private func withdraw() {
        let tickets = state.withLock { state in
            defer { state.tickets = [] }
            return state.tickets
        }
        for ticket in tickets {
            let isWithdrawn = try? handle.withClient { client throws(RayStoreError) in ray_client_wait_cancel(client, ticket) }
            if isWithdrawn == true {
                Unmanaged.passUnretained(self).release()
            }
        }
    }

    /// How it ended. To be asked once.
    func value() async -> Outcome {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.outcome == nil { state.continuation = continuation }
                    return state.outcome != nil
                }
                if isOver {
                    continuation.resume()
                }
            }
        } onCancel: {
            finish(.failed(RayStoreError(.cancelled, "the task was cancelled")))
        }
        withdraw()
        return outcome!
    }

    /// The same; blocks the thread.
    func valueBlocking() -> Outcome {
        let latch = Latch()
        let isOver = state.withLock { state in
            if state.outcome == nil { state.latch = latch }
            return state.outcome != nil
        }
        if !isOver {
            _ = latch.wait(nil)
        }
        withdraw()
        return outcome!
    }
}

extension ClientHandle {
    /// Whether clients of this machine are making all of these, but for those that have just been sealed. What the node itself makes it is
    /// fetching, and only the node can say how that stands.
    func areBeingMade(_ ids: [ObjectID]) throws(RayStoreError) -> Bool {
        // Of a guarded reader's objects only the node can say.
        if isGuarded { return false }
        return try withStore { store in
            ids.allSatisfy { id in
                var info = ray_object_info()
                guard id.withC({ ray_object_stat(store, &$0, &info) }) == .ok else { return false }
                return info.state == UInt32(RAY_STATE_SEALED)
                    || info.state == UInt32(RAY_STATE_CREATING) && info.creator_slot != UInt32(RAY_NODE_SLOT)
            }
        }
    }
}
