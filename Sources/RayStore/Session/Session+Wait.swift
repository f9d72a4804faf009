// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

extension Session {
    /// Waits until `count` of the objects are ready: there is a value, or a failure, to be had without waiting.
    ///
    /// At most `count` refs are ready in the answer, also when more are; the rest is pending. Both lists are in the order of the input. When
    /// the time runs out, fewer are ready: that is no failure.
    ///
    /// - Parameters:
    ///   - refs: without duplicates.
    ///   - count: from 1 to the number of refs.
    ///   - timeout: nil waits as long as it takes, zero only looks.
    ///   - fetchLocal: ready means on this node, and what is elsewhere is fetched. Without it, ready means that a copy exists anywhere.
    ///   - tuning: how what is elsewhere is fetched; its urgency is `.wait` unless it says otherwise.
    /// - Throws: `invalidArgument` for duplicates, a count out of bounds, and a tuning that is not possible; `cancelled`, `closed`, `nodeDied`.
    nonisolated(nonsending) public func wait<Ref: AnyObjectRef>(
        _ refs: [Ref], count: Int = 1, timeout: Duration? = nil, fetchLocal: Bool = true,
        tuning: TransferTuning = .init()
    ) async throws(RayStoreError) -> (ready: [Ref], pending: [Ref]) {
        try tuning.check()
        let ids = try check(refs, count: count)
        let deadline = timeout.map { ContinuousClock.now + $0 }
        let ready = handle.isGuarded ? try await handle.look(ids, limit: answerLimit(timeout)) : try readyNow(ids)
        if ready.filter({ $0 }).count >= count || timeout == .zero && fetchLocal {
            return split(refs, ready, count)
        }
        if let wait = try localWait(ids, ready, count, timeout), let ready = try readiness(await wait.value(), ids, count) {
            return split(refs, ready, count)
        }
        let timeout = deadline.map { max(.zero, ContinuousClock.now.duration(to: $0)) }
        let payload = waitPayload(ids, count, timeout, fetchLocal, tuning)
        let request = try await whenAccepted { () throws(RayStoreError) in
            try PendingRequest.send(.wait, payload, over: handle)
        }
        let answer = await request.answer(onCancel: .abandon, limit: answerLimit(timeout))
        return split(refs, try readiness(answer, ids), count)
    }

    /// The same for code without concurrency; blocks the thread.
    @available(*, noasync, message: "use wait")
    public func waitBlocking<Ref: AnyObjectRef>(
        _ refs: [Ref], count: Int = 1, timeout: Duration? = nil, fetchLocal: Bool = true,
        tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> (ready: [Ref], pending: [Ref]) {
        try tuning.check()
        let ids = try check(refs, count: count)
        let deadline = timeout.map { ContinuousClock.now + $0 }
        let ready = handle.isGuarded ? try handle.lookBlocking(ids, limit: answerLimit(timeout)) : try readyNow(ids)
        if ready.filter({ $0 }).count >= count || timeout == .zero && fetchLocal {
            return split(refs, ready, count)
        }
        if let wait = try localWait(ids, ready, count, timeout), let ready = try readiness(wait.valueBlocking(), ids, count) {
            return split(refs, ready, count)
        }
        let timeout = deadline.map { max(.zero, ContinuousClock.now.duration(to: $0)) }
        let payload = waitPayload(ids, count, timeout, fetchLocal, tuning)
        let request = try whenAcceptedBlocking { () throws(RayStoreError) in
            try PendingRequest.send(.wait, payload, over: handle)
        }
        let answer = request.answerBlocking(limit: answerLimit(timeout))
        return split(refs, try readiness(answer, ids), count)
    }

    private func check(_ refs: [AnyObjectRef], count: Int) throws(RayStoreError) -> [ObjectID] {
        guard count >= 1, count <= refs.count else {
            throw RayStoreError(
                .invalidArgument, "cannot wait for \(count) of \(refs.count) objects: the count is from 1 to the number of refs")
        }
        var seen = Set<ObjectID>(minimumCapacity: refs.count)
        for ref in refs {
            try ref.checkUsable(over: handle)
            guard seen.insert(ref.id).inserted else {
                throw RayStoreError(.invalidArgument, "\(ref.id) is in the list twice: wait takes each ref once", object: ref.id)
            }
        }
        return refs.map(\.id)
    }

    /// How long a node that answers late is waited for.
    private func answerLimit(_ timeout: Duration?) -> Duration? {
        timeout.map { max($0, .zero) + .seconds(1) }
    }

    // What the store on this node says, without asking anybody.
    private func readyNow(_ ids: [ObjectID]) throws(RayStoreError) -> [Bool] {
        let list = ids.map { id in id.withC { $0 } }
        var ready = [UInt8](repeating: 0, count: ids.count)
        var readyCount: UInt32 = 0
        let status = try handle.withStore { store throws(RayStoreError) in
            ray_object_wait(store, list, UInt32(list.count), UInt32(list.count), 0, &ready, &readyCount)
        }
        guard status == .ok || status == .timedOut else { throw RayStoreError(status: status.rawValue) }
        return ready.map { $0 != 0 }
    }

    /// A wait without the node, which is possible as long as clients of this machine are making all that is not ready.
    private func localWait(
        _ ids: [ObjectID], _ ready: [Bool], _ count: Int, _ timeout: Duration?
    ) throws(RayStoreError) -> LocalWait? {
        let pending = zip(ids, ready).filter { !$0.1 }.map(\.0)
        guard timeout != .zero, try handle.areBeingMade(pending) else { return nil }
        let wanted = count - (ids.count - pending.count)
        return try LocalWait.begin(pending, wanted: wanted, timeout: timeout, over: handle)
    }

    /// Nil when only the node knows more: something is not being made here any more.
    private func readiness(
        _ outcome: LocalWait.Outcome, _ ids: [ObjectID], _ count: Int
    ) throws(RayStoreError) -> [Bool]? {
        if case .failed(let error) = outcome { throw error }
        let ready = try readyNow(ids)
        if case .timedOut = outcome { return ready }
        return ready.filter({ $0 }).count >= count ? ready : nil
    }

    private func waitPayload(
        _ ids: [ObjectID], _ count: Int, _ timeout: Duration?, _ fetchLocal: Bool, _ tuning: TransferTuning
    ) -> PayloadWriter {
        var payload = PayloadWriter()
        payload.append(timeout.nanosecondsOrForever)
        payload.append(UInt32(count))
        payload.append(fetchLocal ? UInt32(RAY_WAIT_FETCH) : 0)
        payload.append(ids)
        tuning.append(to: &payload)
        return payload
    }

    private func readiness(_ answer: PendingRequest.Answer, _ ids: [ObjectID]) throws(RayStoreError) -> [Bool] {
        // A node may call the end of the time a failure or not; the list is the same.
        let hasList = answer.payload.count == ids.count
        if let error = answer.error, !(error.code == .timedOut && hasList) {
            guard error.code == .timedOut else { throw error }
            // A node so busy that it does not even answer late: the time is over all the same, and what is here is known without it.
            return handle.isGuarded ? ids.map { _ in false } : try readyNow(ids)
        }
        guard hasList else {
            throw RayStoreError(
                .protocolError, "the node answered a wait for \(ids.count) objects with \(answer.payload.count) bytes")
        }
        return answer.payload.map { $0 != 0 }
    }

    private func split<Ref>(_ refs: [Ref], _ isReady: [Bool], _ count: Int) -> (ready: [Ref], pending: [Ref]) {
        var ready: [Ref] = []
        var pending: [Ref] = []
        for (ref, isReady) in zip(refs, isReady) {
            if isReady, ready.count < count {
                ready.append(ref)
            } else {
                pending.append(ref)
            }
        }
        return (ready, pending)
    }
}
