// SPDX-License-Identifier: Apache-2.0

/// Putting copies a value into the store's shared memory, once, under a new id. It does not wait for the node.
///
/// All throw `storeFull` at once when there is no room (the message says needed and free), `tableFull`, `tooLarge`, `closed`. The same with
/// `within:` wait for room. While somebody waits there, a put has only a share of what is free, the small ones always some: what comes free is
/// kept for who is next, and the message of one that is refused says that others wait.
extension Session {
    /// Puts a value, coded as JSON; an array of numbers is stored as an array.
    ///
    /// Refs in the value are kept alive by the new object. Infinities and NaN are stored as texts.
    ///
    /// - Throws: `invalidArgument` when the value cannot be coded, or holds a ref of another session.
    public func put<Value: Codable & Sendable>(_ value: Value) throws(RayStoreError) -> ObjectRef<Value> {
        try handle.put(codable: value)
    }

    /// Puts an array of fixed-size elements as it lies in memory. ``pin(_:timeout:progress:)`` reads it in place.
    public func put<Element: BitwiseCopyable & Sendable>(
        _ array: [Element]
    ) throws(RayStoreError) -> ObjectRef<[Element]> {
        ObjectRef(id: try handle.put(array: array, shape: [array.count]), handle: handle, isOpen: true)
    }

    /// The same; tells the compiler which form to take for elements that are Codable as well.
    public func put<Element: BitwiseCopyable & Codable & Sendable>(
        _ array: [Element]
    ) throws(RayStoreError) -> ObjectRef<[Element]> {
        ObjectRef(id: try handle.put(array: array, shape: [array.count]), handle: handle, isOpen: true)
    }

    /// Puts an array with several axes, its elements in row-major order.
    ///
    /// - Parameter shape: the extents, slowest axis first; their product is the number of elements.
    /// - Throws: `invalidArgument` when it is not.
    public func put<Element: BitwiseCopyable & Sendable>(
        _ array: [Element], shape: [Int]
    ) throws(RayStoreError) -> ObjectRef<[Element]> {
        ObjectRef(id: try handle.put(array: array, shape: shape), handle: handle, isOpen: true)
    }

    /// Puts bytes.
    public func put(bytes: borrowing RawSpan) throws(RayStoreError) -> ObjectRef<Bytes> {
        let outcome = bytes.withUnsafeBytes { raw -> Result<ObjectID, RayStoreError> in
            Result { () throws(RayStoreError) in try handle.put(raw, metadata: ValueMetadata.encodedBytes) }
        }
        return ObjectRef(id: try outcome.get(), handle: handle, isOpen: true)
    }

    /// Puts bytes: an array, a slice, `Data`. One copy if they lie in one piece.
    public func put(bytes: some Collection<UInt8>) throws(RayStoreError) -> ObjectRef<Bytes> {
        let handle = handle
        let put = { (buffer: UnsafeBufferPointer<UInt8>) -> Result<ObjectID, RayStoreError> in
            Result { () throws(RayStoreError) in
                try handle.put(UnsafeRawBufferPointer(buffer), metadata: ValueMetadata.encodedBytes)
            }
        }
        let outcome = bytes.withContiguousStorageIfAvailable(put) ?? Array(bytes).withUnsafeBufferPointer(put)
        return ObjectRef(id: try outcome.get(), handle: handle, isOpen: true)
    }

    /// Makes an object of bytes and lets the body write them where they will lie, without a copy.
    ///
    /// - Parameter fill: appends exactly `byteCount` bytes. If it throws or writes fewer, nothing is put.
    /// - Throws: what the body throws; `invalidArgument` when bytes are missing.
    public func create(
        byteCount: Int, _ fill: (inout OutputRawSpan) throws -> Void
    ) throws -> ObjectRef<Bytes> {
        let id = try handle.create(byteCount: byteCount, metadata: ValueMetadata.encodedBytes) { room in
            var span = OutputRawSpan(buffer: room, initializedCount: 0)
            try fill(&span)
            return span.finalize(for: room)
        }
        return ObjectRef(id: id, handle: handle, isOpen: true)
    }

    /// Makes an array and lets the body write its elements where they will lie, without a copy.
    ///
    /// - Parameters:
    ///   - shape: the extents, slowest axis first.
    ///   - fill: appends all elements, in row-major order. If it throws or writes fewer, nothing is put.
    /// - Throws: what the body throws; `invalidArgument` when elements are missing or the shape is not one.
    public func create<Element: BitwiseCopyable & Sendable>(
        shape: [Int], of type: Element.Type = Element.self, _ fill: (inout OutputSpan<Element>) throws -> Void
    ) throws -> ObjectRef<[Element]> {
        let element = ElementType(type)
        let byteCount = try element.byteCount(of: shape)
        try element.checkAlignment(MemoryLayout<Element>.alignment)
        let metadata = ArrayHeader.encode(element, shape: shape)
        let id = try handle.create(byteCount: byteCount, metadata: metadata) { room in
            let elements = room.bindMemory(to: type)
            var span = OutputSpan(buffer: elements, initializedCount: 0)
            try fill(&span)
            return span.finalize(for: elements) * element.stride
        }
        return ObjectRef(id: id, handle: handle, isOpen: true)
    }
}
