// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

extension Session {
    /// Makes a ref of text that another process printed or sent; that process must have shared it.
    ///
    /// The type of the value is the caller's word; a get checks it.
    ///
    /// - Throws: `badRef` quoting the text; `objectFreed`, `objectLost`, `ownerDied`, `notFound`: the object is gone; `closed`.
    public func open<Value>(_ text: String, as type: Value.Type = Value.self) async throws(RayStoreError) -> ObjectRef<Value> {
        try await open(ObjectID(text), as: type)
    }

    public func open<Value>(_ id: ObjectID, as type: Value.Type = Value.self) async throws(RayStoreError) -> ObjectRef<Value> {
        let ref = ObjectRef<Value>(id: id, handle: handle, isOpen: false)
        await ref.open()
        try ref.checkUsable(over: handle)
        return ref
    }

    public func open<Value>(_ shared: SharedRef<Value>) async throws(RayStoreError) -> ObjectRef<Value> {
        try await open(shared.id)
    }

    /// The same as `open` for code without concurrency; blocks the thread.
    @available(*, noasync, message: "use open")
    public func openBlocking<Value>(
        _ text: String, as type: Value.Type = Value.self
    ) throws(RayStoreError) -> ObjectRef<Value> {
        let ref = ObjectRef<Value>(id: try ObjectID(text), handle: handle, isOpen: false)
        ref.openBlocking()
        try ref.checkUsable(over: handle)
        return ref
    }

    /// Whether the object is on this node, sealed. A guarded reader asks the node, and the thread waits the some ten microseconds that its
    /// answer takes; ``wait(_:count:timeout:fetchLocal:)`` with timeout zero suspends instead.
    public func contains(_ ref: AnyObjectRef) throws(RayStoreError) -> Bool {
        try ref.checkUsable(over: handle)
        if handle.isGuarded {
            return try handle.withClient { client throws(RayStoreError) in
                var isHere = false
                try RayStoreError.check(object: ref.id) {
                    ref.id.withC { ray_client_contains(client, &$0, &isHere) }.rawValue
                }
                return isHere
            }
        }
        return try handle.withStore { store throws(RayStoreError) in ref.id.withC { ray_object_contains(store, &$0) } }
    }

    /// Ends the objects now, everywhere, whatever refs there are: a later get throws `objectFreed`. Pins stay readable.
    public func free(_ refs: [AnyObjectRef]) async throws(RayStoreError) {
        guard !refs.isEmpty else { return }
        for ref in refs {
            try ref.checkUsable(over: handle)
        }
        var known: [ObjectID] = []
        for ref in refs where try !handle.freeIfUnknownToNode(ref) { known.append(ref.id) }
        guard !known.isEmpty else { return }
        var payload = PayloadWriter()
        payload.append(known)
        try await ask(.free, payload)
    }

    public func free(_ ref: AnyObjectRef) async throws(RayStoreError) {
        try await free([ref])
    }

    /// Lets the object live until it is removed, whatever becomes of its refs and its job.
    public func detach(_ ref: AnyObjectRef) async throws(RayStoreError) {
        try await ask(.detach, about: ref)
    }

    /// Undoes `detach`: the object goes with its last ref.
    public func remove(_ ref: AnyObjectRef) async throws(RayStoreError) {
        try await ask(.remove, about: ref)
    }

    private func ask(_ request: NodeRequest, about ref: AnyObjectRef) async throws(RayStoreError) {
        try ref.checkUsable(over: handle)
        try await ref.registered()
        var payload = PayloadWriter()
        payload.append(ref.id)
        try await ask(request, payload)
    }

    /// Asks the node and waits for its answer.
    @discardableResult
    package func ask(_ request: NodeRequest, _ payload: PayloadWriter) async throws(RayStoreError) -> [UInt8] {
        let pending = try await whenAccepted { () throws(RayStoreError) in
            try PendingRequest.send(request, payload, over: handle)
        }
        return try await pending.answer().get()
    }
}
