// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Synchronization

/// Asks the node for a part of an object that is not here. What arrives after nobody waits for it any more is released again.
final class RangeRead: Sendable {
    enum Outcome {
        /// The object is on this node.
        case isHere
        /// The part, with the metadata of the object.
        case fetched(SharedPin)
    }

    private let id: ObjectID
    private let handle: ClientHandle
    private let outcome = Mutex<Result<Outcome, RayStoreError>?>(nil)

    init(_ id: ObjectID, over handle: ClientHandle) {
        self.id = id
        self.handle = handle
    }

    func send(
        _ range: Range<Int>, timeout: Duration?, tuning: TransferTuning, progress: (@Sendable (TransferProgress) -> Void)?
    ) throws(RayStoreError) -> PendingRequest {
        var payload = PayloadWriter()
        payload.append(timeout.nanosecondsOrForever)
        payload.append(UInt64(range.lowerBound))
        payload.append(UInt64(range.count))
        payload.append(id)
        tuning.append(to: &payload)
        return try PendingRequest.send(
            .read, payload, over: handle, progress: progress,
            onAnswer: { [self] answer in
                guard answer.error == nil else { return }
                let taken = Result { () throws(RayStoreError) in try take(answer.payload) }
                outcome.withLock { $0 = taken }
            })
    }

    /// What the node answered, after it has answered with success.
    func take() throws(RayStoreError) -> Outcome {
        let outcome = outcome.withLock { outcome in
            defer { outcome = nil }
            return outcome
        }
        guard let outcome else { throw RayStoreError(.system, "the read of \(id) has no outcome", object: id) }
        return try outcome.get()
    }

    // From the answer on the object of the part is this process's alone. The pin keeps it, and it goes with the pin.
    private func take(_ payload: [UInt8]) throws(RayStoreError) -> Outcome {
        var reader = PayloadReader(payload)
        guard let place = reader.integer(UInt32.self), reader.integer(UInt32.self) != nil, reader.integer(UInt64.self) != nil,
            let part = reader.id()
        else { throw RayStoreError(.protocolError, "the node answered a read with \(payload.count) bytes", object: id) }
        guard place == UInt32(RAY_READ_FETCHED) else { return .isHere }
        try handle.acquireRef(part)
        defer {
            try? handle.withStore { store throws(RayStoreError) in _ = part.withC { ray_ref_release(store, &$0) } }
        }
        var reason: RayStoreError?
        guard let pin = try handle.pinNow(part, reason: &reason) else {
            throw reason ?? RayStoreError(.system, "the part of \(id) that was read is gone", object: id)
        }
        return .fetched(SharedPin(pin))
    }
}
