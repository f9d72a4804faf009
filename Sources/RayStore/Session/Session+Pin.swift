// SPDX-License-Identifier: Apache-2.0

/// Pinning gives an object in place: nothing is copied or decoded. It throws what `get` throws; the type is checked when elements are
/// asked for.
extension Session {
    /// Waits until the object is on this node and pins it. `timeout`, `tuning` and `progress` are as in `get`.
    nonisolated(nonsending) public func pin(
        _ ref: AnyObjectRef, timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> PinnedObject {
        if let object = try pinIfLocal(ref) { return object }
        return try await handle.pinOne(ref, timeout: timeout, tuning: tuning, progress: progress)
    }

    /// Pins the object if it is sealed on this node now; does not wait or ask the node.
    public func pinIfLocal(_ ref: AnyObjectRef) throws(RayStoreError) -> PinnedObject? {
        try ref.checkUsable(over: handle)
        var reason: RayStoreError?
        guard let pin = try handle.pinNow(ref.id, reason: &reason) else { return nil }
        return try PinnedObject(pin)
    }

    /// The same as ``pin(_:timeout:tuning:progress:)`` for code without concurrency: it blocks the thread.
    @available(*, noasync, message: "use pin")
    public func pinBlocking(
        _ ref: AnyObjectRef, timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> PinnedObject {
        if let object = try pinIfLocal(ref) { return object }
        return try handle.pinOneBlocking(ref, timeout: timeout, tuning: tuning)
    }
}
