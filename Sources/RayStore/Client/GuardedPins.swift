// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Synchronization

/// Pins that the node is asked to make for a guarded reader. What arrives after nobody waits for it any more is released again.
final class GuardedPins: Sendable {
    /// So many ids fit into a request of a reader, twice.
    static let limit = 1000

    let ids: [ObjectID]
    private let handle: ClientHandle
    private let outcomes = Mutex<[Result<SharedPin, RayStoreError>]>([])

    init(_ ids: [ObjectID], over handle: ClientHandle) {
        self.ids = ids
        self.handle = handle
    }

    func send() throws(RayStoreError) -> PendingRequest {
        var payload = PayloadWriter()
        payload.append(ids)
        return try PendingRequest.send(
            .pin, payload, over: handle,
            onAnswer: { [self] answer in
                guard answer.error == nil else { return }
                let taken = handle.takePins(ids, from: answer.payload)
                outcomes.withLock { $0 = taken }
            })
    }

    /// One for each id; empty when the node has not answered.
    func take() -> [Result<SharedPin, RayStoreError>] {
        outcomes.withLock { outcomes in
            defer { outcomes = [] }
            return outcomes
        }
    }
}

extension ClientHandle {
    /// Takes the pins out of the node's answer. When the session is closing they go with it.
    fileprivate func takePins(_ ids: [ObjectID], from answer: [UInt8]) -> [Result<SharedPin, RayStoreError>] {
        ids.enumerated().map { index, id in
            Result { () throws(RayStoreError) in
                try enter(as: Self.pin)
                var view = ray_object_view()
                let status = ray_client_pin_take(clientInside, answer, answer.count, UInt32(index), &view)
                guard status == .ok else {
                    let error = RayStoreError(status: status.rawValue, object: id)
                    leave(as: Self.pin)
                    throw error
                }
                return SharedPin(Pin(id: id, handle: self, view: view))
            }
        }
    }
}
