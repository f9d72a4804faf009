// SPDX-License-Identifier: Apache-2.0

/// A ref on its way to another process, as a value or as text of 56 hex digits.
///
/// The object is held until somebody has opened it (`Session.open`) or the session that shared it ends. It may be opened once for
/// each `shared()`; keep a ref of your own if more are to follow.
public struct SharedRef<Value>: Hashable, Sendable {
    public let id: ObjectID

    init(id: ObjectID) {
        self.id = id
    }

    /// Reads the text of a shared ref.
    ///
    /// - Throws: `badRef`, quoting the text.
    public init(_ text: String) throws(RayStoreError) {
        id = try ObjectID(text)
    }

    /// 56 hex digits.
    public var text: String { id.description }
}

extension SharedRef: CustomStringConvertible {
    public var description: String { text }
}

extension SharedRef: Codable {
    public init(from decoder: any Decoder) throws {
        id = try ObjectID(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        try id.encode(to: encoder)
    }
}

extension ObjectRef {
    /// Makes the ref ready to leave this process: from now on the object waits for whoever opens it.
    ///
    /// - Throws: `closed`, `nodeDied`, or why the owner refuses (`objectFreed`, `ownerDied`).
    public func shared() async throws(RayStoreError) -> SharedRef<Value> {
        try await share()
        return SharedRef(id: id)
    }
}

extension AnyObjectRef {
    func share() async throws(RayStoreError) {
        try checkUsable(over: handle)
        try await registered()
        var payload = PayloadWriter()
        payload.append(id)
        let request = try await whenAccepted { () throws(RayStoreError) in
            try PendingRequest.send(.shareRef, payload, over: handle)
        }
        _ = try await request.answer().get()
    }
}
