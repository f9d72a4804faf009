// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import FoundationEssentials

// Making objects when memory is short: what does not fit waits at the node, which makes room and creates it in this process's name.
extension ClientHandle {
    /// Makes an object that the body fills in place, waiting for room.
    ///
    /// - Parameters:
    ///   - limit: how long to wait; nil as long as there is hope.
    ///   - body: returns how many bytes it has written. Called once there is room.
    /// - Throws: `storeFull`, `timedOut`, `cancelled`; what the body throws.
    nonisolated(nonsending) func create(
        byteCount: Int, metadata: [UInt8], within limit: Duration?, _ body: (UnsafeMutableRawBufferPointer) throws -> Int
    ) async throws -> ObjectID {
        guard byteCount >= 0 else {
            throw RayStoreError(.invalidArgument, "an object of \(byteCount) bytes cannot be made")
        }
        let id = try nextID()
        do {
            try enter()
            defer { leave() }
            if var writer = try beginIfThereIsRoom(id, byteCount: byteCount, metadataSize: metadata.count) {
                try fill(&writer, id, metadata, body)
                return id
            }
        }
        try await awaitRoom(id, byteCount: byteCount, metadataSize: metadata.count, within: limit)
        try enter()
        defer { leave() }
        guard !Task.isCancelled else {
            let store = storeInside
            id.withC { ray_object_decline(store, &$0) }
            throw RayStoreError(.cancelled, "the wait for room for \(id) was cancelled", object: id)
        }
        var writer = try accept(id)
        try fill(&writer, id, metadata, body)
        return id
    }

    private func beginIfThereIsRoom(
        _ id: ObjectID, byteCount: Int, metadataSize: Int
    ) throws(RayStoreError) -> ray_object_writer? {
        do throws(RayStoreError) {
            return try begin(id, byteCount: byteCount, metadataSize: metadataSize)
        } catch {
            guard error.code == .storeFull else { throw error }
            return nil
        }
    }

    /// Returns when the node has created the object for this process. Whoever is cancelled meanwhile learns from the node whether it has.
    private nonisolated(nonsending) func awaitRoom(
        _ id: ObjectID, byteCount: Int, metadataSize: Int, within limit: Duration?
    ) async throws(RayStoreError) {
        var payload = PayloadWriter()
        payload.append(limit.nanosecondsOrForever)
        payload.append(UInt64(byteCount))
        payload.append(UInt32(metadataSize))
        payload.append(UInt32(RAY_CREATE_WITH_REF))
        payload.append(id)
        let wanted = payload
        let request = try await whenAccepted { () throws(RayStoreError) in
            try PendingRequest.send(.create, wanted, over: self)
        }
        _ = try await request.answer(onCancel: .ask).get()
    }

    private func accept(_ id: ObjectID) throws(RayStoreError) -> ray_object_writer {
        let store = storeInside
        var writer = ray_object_writer()
        try RayStoreError.check(object: id) {
            id.withC { ray_object_accept(store, &$0, UInt32(RAY_CREATE_WITH_REF), &writer) }.rawValue
        }
        return writer
    }
}

extension ClientHandle {
    /// Copies data into a new object, waiting for room.
    nonisolated(nonsending) func put(
        copying data: some Collection<UInt8>, metadata: [UInt8], within limit: Duration?
    ) async throws(RayStoreError) -> ObjectID {
        try await RayStoreError.only {
            try await create(byteCount: data.count, metadata: metadata, within: limit) { room in
                room.copyBytes(from: data)
                return room.count
            }
        }
    }

    nonisolated(nonsending) func put<Element: BitwiseCopyable>(
        array: [Element], shape: [Int], within limit: Duration?
    ) async throws(RayStoreError) -> ObjectID {
        let type = ElementType(Element.self)
        try type.check(shape, holds: array.count)
        let metadata = ArrayHeader.encode(type, shape: shape)
        return try await RayStoreError.only {
            try await create(byteCount: array.count * type.stride, metadata: metadata, within: limit) { room in
                array.withUnsafeBytes { room.copyMemory(from: $0) }
                return room.count
            }
        }
    }

    /// Encodes a value and puts it, waiting for room. The object keeps alive what the refs in the value name.
    nonisolated(nonsending) func put<Value: Encodable>(
        codable value: Value, within limit: Duration?
    ) async throws(RayStoreError) -> ObjectRef<Value> {
        if let array = value as? any NumberArray {
            return ObjectRef(id: try await array.store(over: self, within: limit), handle: self, isOpen: true)
        }
        let (data, collector) = try encode(value)
        let metadata = ValueMetadata.json(type: String(reflecting: Value.self)).encoded
        let ref = ObjectRef<Value>(
            id: try await put(copying: data, metadata: metadata, within: limit), handle: self, isOpen: true)
        if !collector.isEmpty {
            try contain(collector.all, in: ref)
        }
        return ref
    }
}

extension RayStoreError {
    /// Runs what throws nothing else.
    fileprivate nonisolated(nonsending) static func only<Value>(
        _ body: () async throws -> Value
    ) async throws(RayStoreError) -> Value {
        do {
            return try await body()
        } catch let error as RayStoreError {
            throw error
        } catch {
            throw RayStoreError(.system, "\(error)")
        }
    }
}
