// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Synchronization

/// A request on its way to the node. Any number of tasks and threads may wait for its answer.
package final class PendingRequest: Sendable {
    /// What came back. Some failures carry a payload too.
    package struct Answer: Sendable {
        package let error: RayStoreError?
        package let payload: [UInt8]

        package func get() throws(RayStoreError) -> [UInt8] {
            if let error { throw error }
            return payload
        }
    }

    private struct State {
        var answer: Answer?
        /// The node has spoken; nothing more will come.
        var isOver = false
        var requestID: UInt64?
        var continuations: [CheckedContinuation<Void, Never>] = []
        var latches: [Latch] = []
        var heldUntilAnswer: [any Sendable] = []
        var heldUntilSuccess: [any Sendable] = []
    }

    private let handle: ClientHandle
    private let progress: (@Sendable (TransferProgress) -> Void)?
    private let onAnswer: (@Sendable (Answer) -> Void)?
    private let state: Mutex<State>

    private init(
        handle: ClientHandle, progress: (@Sendable (TransferProgress) -> Void)?, onAnswer: (@Sendable (Answer) -> Void)?,
        heldUntilAnswer: [any Sendable], heldUntilSuccess: [any Sendable]
    ) {
        self.handle = handle
        self.progress = progress
        self.onAnswer = onAnswer
        state = Mutex(State(heldUntilAnswer: heldUntilAnswer, heldUntilSuccess: heldUntilSuccess))
    }

    /// Sends a request; does not block.
    ///
    /// - Parameters:
    ///   - heldUntilAnswer: what must live until the node has answered, whatever it answers.
    ///   - heldUntilSuccess: what must live until then, and as long as this request after a failure.
    ///   - onAnswer: called with the node's answer, however late, before those who wait for it go on.
    package static func send(
        _ request: NodeRequest, _ payload: PayloadWriter, over handle: ClientHandle,
        heldUntilAnswer: [any Sendable] = [], heldUntilSuccess: [any Sendable] = [],
        progress: (@Sendable (TransferProgress) -> Void)? = nil, onAnswer: (@Sendable (Answer) -> Void)? = nil
    ) throws(RayStoreError) -> PendingRequest {
        let pending = PendingRequest(
            handle: handle, progress: progress, onAnswer: onAnswer, heldUntilAnswer: heldUntilAnswer,
            heldUntilSuccess: heldUntilSuccess)
        let requestID = try handle.withClient { client throws(RayStoreError) in
            var requestID: UInt64 = 0
            // The completion takes this reference back.
            let context = Unmanaged.passRetained(pending)
            let status = payload.bytes.withUnsafeBytes {
                ray_client_send(
                    client, request.rawValue, $0.baseAddress, $0.count, completed,
                    progress == nil ? nil : progressed, context.toOpaque(), &requestID)
            }
            guard status == .ok else {
                let error = RayStoreError(status: status.rawValue)
                context.release()
                throw error
            }
            return requestID
        }
        pending.state.withLock { $0.requestID = requestID }
        return pending
    }

    /// The answer, once there is one.
    package var answerNow: Answer? { state.withLock { $0.answer } }

    /// What the cancellation of a waiting task does to the request.
    package enum Cancellation: Sendable {
        /// Nothing: others rely on it.
        case ignore
        /// The node is asked to give it up; the wait goes on until it has answered, since only it knows what it had done by then.
        case ask
        /// The same, but the wait ends at once: nothing is left behind by a late answer.
        case abandon
    }

    /// Waits for the answer.
    ///
    /// - Parameter limit: how long to wait for a node that does not even answer late; then the answer is `timedOut`.
    package func answer(onCancel: Cancellation = .ask, limit: Duration? = nil) async -> Answer {
        if let answer = answerNow { return answer }
        let watchdog = limit.map { limit in
            Task.detached { [self] in
                try? await Task.sleep(for: limit)
                guard !Task.isCancelled else { return }
                giveUp(RayStoreError(.timedOut, "the node did not answer within \(limit)"))
                cancel()
            }
        }
        defer { watchdog?.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isAnswered = state.withLock { state in
                    if state.answer == nil { state.continuations.append(continuation) }
                    return state.answer != nil
                }
                if isAnswered {
                    continuation.resume()
                }
            }
        } onCancel: {
            if onCancel != .ignore {
                cancel()
            }
            if onCancel == .abandon {
                giveUp(RayStoreError(.cancelled, "the task was cancelled"))
            }
        }
        return answerNow!
    }

    /// Blocks this thread until the answer is here.
    package func answerBlocking(limit: Duration? = nil) -> Answer {
        let latch = Latch()
        let answer = state.withLock { state in
            if state.answer == nil { state.latches.append(latch) }
            return state.answer
        }
        if let answer { return answer }
        if !latch.wait(limit), let limit {
            giveUp(RayStoreError(.timedOut, "the node did not answer within \(limit)"))
            cancel()
        }
        return answerNow!
    }

    /// Asks the node to give it up.
    package func cancel() {
        let open = state.withLock { $0.isOver ? nil : $0.requestID }
        if let open {
            // A closed session has completed all its requests.
            try? handle.withClient { client throws(RayStoreError) in ray_client_cancel(client, open) }
        }
    }

    // The first answer stands: a late one of the node after giving up changes nothing.
    private func finish(_ answer: Answer, isFinal: Bool) {
        let (continuations, latches, released) = state.withLock { state in
            var released: [any Sendable] = []
            if isFinal {
                state.isOver = true
                released = state.heldUntilAnswer
                state.heldUntilAnswer = []
                if answer.error == nil {
                    released += state.heldUntilSuccess
                    state.heldUntilSuccess = []
                }
            }
            if state.answer == nil {
                state.answer = answer
            }
            defer { (state.continuations, state.latches) = ([], []) }
            return (state.continuations, state.latches, released)
        }
        for continuation in continuations {
            continuation.resume()
        }
        for latch in latches {
            latch.open()
        }
        // Here, outside of the lock: what goes may make calls of its own.
        withExtendedLifetime(released) {}
    }

    private func giveUp(_ error: RayStoreError) {
        finish(Answer(error: error, payload: []), isFinal: false)
    }

    private func receive(_ answer: Answer) {
        onAnswer?(answer)
        finish(answer, isFinal: true)
    }

    private static let completed: ray_completion_fn = { context, status, message, payload, size in
        guard let context else { return }
        let pending = Unmanaged<PendingRequest>.fromOpaque(context).takeRetainedValue()
        let bytes = Array(UnsafeRawBufferPointer(start: payload, count: payload == nil ? 0 : size))
        guard status != .ok else { return pending.receive(Answer(error: nil, payload: bytes)) }
        let error = RayStoreError(
            RayStoreError.Code(rawValue: status.rawValue), String(cString: message), object: ObjectID(bytes: bytes))
        pending.receive(Answer(error: error, payload: bytes))
    }

    private static let progressed: ray_progress_fn = { context, id, progress in
        guard let context else { return }
        let pending = Unmanaged<PendingRequest>.fromOpaque(context).takeUnretainedValue()
        pending.progress?(TransferProgress(of: ObjectID(c: id.pointee), progress.pointee))
    }
}
