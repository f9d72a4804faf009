// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

extension Session {
    /// Has a node fetch a copy before anybody there asks for it: a get there is then local.
    ///
    /// The node keeps the copy for the time given, or until ``endPrefetch(_:on:)``, or until the object ends; asked again, it keeps it longer.
    /// Meanwhile it counts as one that refers to the object, so the object lives that long too, whatever becomes of its refs; but not beyond the
    /// end of its job. Refs that are opened there keep the copy as they always do.
    ///
    /// - Parameters:
    ///   - node: nil for the node of this session.
    ///   - untilThere: returns when the copy is there; else when the transfer has begun, and whether it comes to its end is not told.
    ///   - timeout: nil waits as long as it takes. The prefetch goes on after it.
    ///   - tuning: how that node fetches it, if it does not yet; its urgency is `.prefetch` unless it says otherwise.
    /// - Throws: `invalidArgument` for a node that never was in the cluster, and for a tuning that is not possible; `nodeDied` for one that is not any more; `objectFreed`,
    ///   `objectLost`, `ownerDied`, `notFound`: the object is gone; with `untilThere` also why the copy cannot be, such as `storeFull`;
    ///   `timedOut`, `cancelled`, `unsupported` for a guarded reader.
    public func prefetch(
        _ ref: AnyObjectRef, on node: NodeID? = nil, keepFor time: Duration = .seconds(600), untilThere: Bool = false,
        timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) async throws(RayStoreError) {
        try tuning.check()
        guard time > .zero else { throw RayStoreError(.invalidArgument, "a copy cannot be kept for \(time)", object: ref.id) }
        try await ask(ref, node, flags: untilThere ? UInt32(RAY_PREFETCH_WAIT) : 0, keep: time, timeout, tuning)
    }

    /// Lets the node give up what it has prefetched. Refs that were opened there keep it.
    public func endPrefetch(_ ref: AnyObjectRef, on node: NodeID? = nil) async throws(RayStoreError) {
        try await ask(ref, node, flags: UInt32(RAY_PREFETCH_END), keep: .zero, nil, .init())
    }

    private func ask(
        _ ref: AnyObjectRef, _ node: NodeID?, flags: UInt32, keep: Duration, _ timeout: Duration?,
        _ tuning: TransferTuning
    ) async throws(RayStoreError) {
        try ref.checkUsable(over: handle)
        try await ref.registered()
        var payload = PayloadWriter()
        payload.append(timeout.nanosecondsOrForever)
        payload.append(flags)
        payload.append(UInt32(0))
        payload.append(keep.nanosecondsClamped)
        payload.append(ref.id)
        payload.append(text: node?.description ?? "")
        tuning.append(to: &payload)
        // The ref keeps the object until the node that is to have a copy is counted.
        let request = try await whenAccepted { () throws(RayStoreError) in
            try PendingRequest.send(.prefetch, payload, over: handle, heldUntilAnswer: [ref])
        }
        let answer = await request.answer(onCancel: .abandon, limit: timeout.map { $0 + .seconds(1) })
        if let error = answer.error { throw error.about(ref.id) }
    }
}
