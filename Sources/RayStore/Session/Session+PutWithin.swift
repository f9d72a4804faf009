// SPDX-License-Identifier: Apache-2.0

/// Putting that waits when the store is full: the node makes room, in the order of those who wait, client by client.
///
/// What fits is put at once, as `put` does. `within` is how long to wait, also while nothing comes free: whoever has the memory pinned may let go
/// of it in the last moment. Nil is as long as there is hope: as long as memory comes free now and then, or the node can give some up. All
/// throw `timedOut` when the time is over, `storeFull` when without a limit nothing more can be freed, both with needed, free, and pinned by
/// whom; `storeFull` at once when the object is larger than the store or the client's quota; `cancelled` when the task is; and what `put` throws.
/// After a failure nothing is left.
///
/// ```swift
/// let ref = try await session.put(bytes: page, within: .seconds(30))
/// ```
extension Session {
    /// Puts a value, coded as JSON; an array of numbers is stored as an array.
    public func put<Value: Codable & Sendable>(_ value: Value, within limit: Duration?) async throws(RayStoreError) -> ObjectRef<
        Value
    > {
        try await handle.put(codable: value, within: limit)
    }

    /// Puts an array of fixed-size elements as it lies in memory.
    public func put<Element: BitwiseCopyable & Sendable>(
        _ array: [Element], within limit: Duration?
    ) async throws(RayStoreError) -> ObjectRef<[Element]> {
        try await put(array, shape: [array.count], within: limit)
    }

    /// The same; tells the compiler which form to take for elements that are Codable as well.
    public func put<Element: BitwiseCopyable & Codable & Sendable>(
        _ array: [Element], within limit: Duration?
    ) async throws(RayStoreError) -> ObjectRef<[Element]> {
        try await put(array, shape: [array.count], within: limit)
    }

    /// Puts an array with several axes, its elements in row-major order.
    public func put<Element: BitwiseCopyable & Sendable>(
        _ array: [Element], shape: [Int], within limit: Duration?
    ) async throws(RayStoreError) -> ObjectRef<[Element]> {
        ObjectRef(id: try await handle.put(array: array, shape: shape, within: limit), handle: handle, isOpen: true)
    }

    /// Puts bytes: an array, a slice, `Data`.
    public func put(bytes: some Collection<UInt8> & Sendable, within limit: Duration?) async throws(RayStoreError) -> ObjectRef<
        Bytes
    > {
        let id = try await handle.put(copying: bytes, metadata: ValueMetadata.encodedBytes, within: limit)
        return ObjectRef(id: id, handle: handle, isOpen: true)
    }

    /// Makes an object of bytes and lets the body write them where they will lie, without a copy, once there is room.
    public func create(
        byteCount: Int, within limit: Duration?, _ fill: (inout OutputRawSpan) throws -> Void
    ) async throws -> ObjectRef<Bytes> {
        let id = try await handle.create(byteCount: byteCount, metadata: ValueMetadata.encodedBytes, within: limit) { room in
            var span = OutputRawSpan(buffer: room, initializedCount: 0)
            try fill(&span)
            return span.finalize(for: room)
        }
        return ObjectRef(id: id, handle: handle, isOpen: true)
    }

    /// Makes an array and lets the body write its elements where they will lie, without a copy, once there is room.
    public func create<Element: BitwiseCopyable & Sendable>(
        shape: [Int], of type: Element.Type = Element.self, within limit: Duration?,
        _ fill: (inout OutputSpan<Element>) throws -> Void
    ) async throws -> ObjectRef<[Element]> {
        let element = ElementType(type)
        let byteCount = try element.byteCount(of: shape)
        try element.checkAlignment(MemoryLayout<Element>.alignment)
        let metadata = ArrayHeader.encode(element, shape: shape)
        let id = try await handle.create(byteCount: byteCount, metadata: metadata, within: limit) { room in
            let elements = room.bindMemory(to: type)
            var span = OutputSpan(buffer: elements, initializedCount: 0)
            try fill(&span)
            return span.finalize(for: elements) * element.stride
        }
        return ObjectRef(id: id, handle: handle, isOpen: true)
    }
}
