// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import FoundationEssentials

extension ClientHandle {
    /// Copies data into a new object, with a ref of this process.
    ///
    /// - Throws: `storeFull`, saying needed and free; `tableFull`, `closed`.
    func put(_ data: UnsafeRawBufferPointer, metadata: [UInt8]) throws(RayStoreError) -> ObjectID {
        try withClient { client throws(RayStoreError) in
            var id = ray_object_id()
            let status = ray_client_put(
                client, data.baseAddress, UInt64(data.count), metadata, UInt32(metadata.count), &id)
            guard status == .ok else { throw RayStoreError(status: status.rawValue) }
            return ObjectID(c: id)
        }
    }

    /// - Throws: `invalidArgument` when the shape is not that of the elements.
    func put<Element: BitwiseCopyable>(array: [Element], shape: [Int]) throws(RayStoreError) -> ObjectID {
        let type = ElementType(Element.self)
        try type.check(shape, holds: array.count)
        let metadata = ArrayHeader.encode(type, shape: shape)
        let outcome = array.withUnsafeBytes { raw -> Result<ObjectID, RayStoreError> in
            Result { () throws(RayStoreError) in try put(raw, metadata: metadata) }
        }
        return try outcome.get()
    }

    /// Encodes a value and puts it. The object keeps alive what the refs in the value name.
    func put<Value: Encodable>(codable value: Value) throws(RayStoreError) -> ObjectRef<Value> {
        if let array = value as? any NumberArray {
            return ObjectRef(id: try array.store(over: self), handle: self, isOpen: true)
        }
        let (data, collector) = try encode(value)
        let metadata = ValueMetadata.json(type: String(reflecting: Value.self)).encoded
        let outcome = data.withUnsafeBytes { raw -> Result<ObjectID, RayStoreError> in
            Result { () throws(RayStoreError) in try put(raw, metadata: metadata) }
        }
        let ref = ObjectRef<Value>(id: try outcome.get(), handle: self, isOpen: true)
        if !collector.isEmpty {
            try contain(collector.all, in: ref)
        }
        return ref
    }

    /// A value as JSON, and the refs in it.
    func encode<Value: Encodable>(_ value: Value) throws(RayStoreError) -> (Data, RefCollector) {
        let collector = RefCollector(over: self)
        do {
            return (try JSONEncoder.raystore(collector).encode(value), collector)
        } catch let error as RayStoreError {
            throw error
        } catch {
            throw RayStoreError(.invalidArgument, "a \(Value.self) cannot be coded as JSON: \(error)")
        }
    }

    // Putting does not wait, so the node hears of the inner refs on its way. They are held until it has them; should it fail to take them
    // they are held as long as the outer ref, and sharing that one fails with the reason. The outer ref is held for as long as the
    // node may be looking at it.
    func contain(_ inner: [AnyObjectRef], in outer: AnyObjectRef) throws(RayStoreError) {
        var payload = PayloadWriter()
        payload.append(outer.id)
        payload.append(Array(Set(inner.map(\.id))))
        let request = try PendingRequest.send(
            .contain, payload, over: self, heldUntilAnswer: [outer], heldUntilSuccess: inner)
        outer.setRegistration(request)
    }

    /// Makes an object that the body fills in place.
    ///
    /// - Parameter body: returns how many bytes it has written.
    func create(
        byteCount: Int, metadata: [UInt8], _ body: (UnsafeMutableRawBufferPointer) throws -> Int
    ) throws -> ObjectID {
        guard byteCount >= 0 else {
            throw RayStoreError(.invalidArgument, "an object of \(byteCount) bytes cannot be made")
        }
        try enter()
        defer { leave() }
        let id = try nextID()
        var writer = try begin(id, byteCount: byteCount, metadataSize: metadata.count)
        try fill(&writer, id, metadata, body)
        return id
    }

    /// Takes room for an object, for who has entered.
    ///
    /// - Throws: `storeFull`.
    func begin(_ id: ObjectID, byteCount: Int, metadataSize: Int) throws(RayStoreError) -> ray_object_writer {
        let store = storeInside
        var writer = ray_object_writer()
        try RayStoreError.check(object: id) {
            id.withC {
                ray_object_create(
                    store, &$0, UInt64(byteCount), UInt32(metadataSize), UInt32(RAY_CREATE_WITH_REF), &writer
                ).rawValue
            }
        }
        return writer
    }

    /// Fills and seals what was begun, or leaves nothing of it, for who has entered.
    func fill(
        _ writer: inout ray_object_writer, _ id: ObjectID, _ metadata: [UInt8],
        _ body: (UnsafeMutableRawBufferPointer) throws -> Int
    ) throws {
        let store = storeInside
        let byteCount = Int(writer.data_size)
        var isSealed = false
        defer {
            if !isSealed {
                ray_object_abort(store, &writer)
                _ = id.withC { ray_ref_release(store, &$0) }
            }
        }
        UnsafeMutableRawBufferPointer(start: writer.metadata, count: metadata.count).copyBytes(from: metadata)
        let written = try body(UnsafeMutableRawBufferPointer(start: writer.data, count: byteCount))
        guard written == byteCount else {
            throw RayStoreError(
                .invalidArgument, "only \(written) of \(byteCount) bytes were written: an object is sealed when all are",
                object: id)
        }
        try RayStoreError.check(object: id) { ray_object_seal(store, &writer).rawValue }
        isSealed = true
    }
}

extension ClientHandle {
    func nextID() throws(RayStoreError) -> ObjectID {
        try withClient { client throws(RayStoreError) in
            var id = ray_object_id()
            try RayStoreError.check { ray_client_next_id(client, &id).rawValue }
            return ObjectID(c: id)
        }
    }

    /// One more ref of this process.
    ///
    /// - Throws: `notFound` when there is no such object on this node.
    func acquireRef(_ id: ObjectID) throws(RayStoreError) {
        try withStore { store throws(RayStoreError) in
            try RayStoreError.check(object: id) { id.withC { ray_ref_acquire(store, &$0) }.rawValue }
        }
    }
}

extension ElementType {
    /// - Throws: `invalidArgument` when this is no shape, or too many bytes.
    func byteCount(of shape: [Int]) throws(RayStoreError) -> Int {
        let (bytes, overflow) = try count(of: shape).multipliedReportingOverflow(by: stride)
        guard !overflow else { throw RayStoreError(.invalidArgument, "an array of shape \(shape) is larger than any memory") }
        return bytes
    }

    /// - Throws: `invalidArgument` when the store aligns less.
    func checkAlignment(_ alignment: Int) throws(RayStoreError) {
        guard alignment <= 64 else {
            throw RayStoreError(.invalidArgument, "\(name) wants an alignment of more than 64 bytes; the store gives 64")
        }
    }

    func check(_ shape: [Int], holds count: Int) throws(RayStoreError) {
        let product = try self.count(of: shape)
        guard product == count else {
            throw RayStoreError(.invalidArgument, "the shape \(shape) has \(product) elements, the array \(count)")
        }
    }

    private func count(of shape: [Int]) throws(RayStoreError) -> Int {
        let limit = ArrayHeader.maximumRank
        guard (1...limit).contains(shape.count) else {
            throw RayStoreError(.invalidArgument, "an array has 1 to \(limit) axes, not \(shape.count)")
        }
        var product = 1
        for extent in shape {
            let (next, overflow) = product.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !overflow else {
                throw RayStoreError(.invalidArgument, "\(shape) is not the shape of an array")
            }
            product = next
        }
        guard stride > 0, name.utf8.count <= 1024 else {
            throw RayStoreError(.invalidArgument, "arrays of \(name) cannot be stored")
        }
        return product
    }
}
