// SPDX-License-Identifier: Apache-2.0

/// Names of objects, in the session's namespace: jobs do not see each other's unless they were given the same one.
extension Session {
    /// Gives an object a name. The name keeps the object alive until it is unbound.
    ///
    /// - Throws: `nameInUse`; `invalidArgument` for what cannot be a name.
    public func bind(_ name: String, to ref: AnyObjectRef) async throws(RayStoreError) {
        try ref.checkUsable(over: handle)
        try await ref.registered()
        var payload = PayloadWriter()
        payload.append(ref.id)
        payload.append(text: name)
        try await ask(.bindName, payload)
    }

    /// The object of this name.
    ///
    /// - Throws: `nameUnknown`; why the object cannot be opened.
    public func find<Value>(_ name: String, as type: Value.Type = Value.self) async throws(RayStoreError) -> ObjectRef<Value> {
        var payload = PayloadWriter()
        payload.append(text: name)
        let id = try answeredID(try await ask(.findName, payload))
        return try await open(id, as: type)
    }

    /// Takes a name away.
    ///
    /// - Returns: what it named.
    /// - Throws: `nameUnknown`.
    @discardableResult
    public func unbind(_ name: String) async throws(RayStoreError) -> ObjectID {
        var payload = PayloadWriter()
        payload.append(text: name)
        return try answeredID(try await ask(.unbindName, payload))
    }

    private func answeredID(_ payload: [UInt8]) throws(RayStoreError) -> ObjectID {
        guard payload.count == 28, let id = ObjectID(bytes: payload) else {
            throw RayStoreError(.protocolError, "the node answered with \(payload.count) bytes where an id was due")
        }
        return id
    }
}
