// SPDX-License-Identifier: Apache-2.0

/// An object read where it lies in the store's memory, pinned as long as this value exists.
///
/// A pinned object is neither moved nor evicted, and readable even after it was freed or its session closed. So release it when done:
/// let it go out of scope, or call ``release()`` where no span of it is in scope any more.
///
/// ```swift
/// let weights = try await session.pin(ref)
/// let span = try weights.elements(as: Float.self)
/// var sum: Float = 0
/// for index in span.indices { sum += span[index] }
/// ```
public struct PinnedObject: ~Copyable, Sendable {
    private let pin: Pin

    /// - Throws: the failure that the object is, if it is one.
    init(_ pin: consuming Pin) throws(RayStoreError) {
        // The sizes are at hand; the metadata itself is a cache miss, which was a third of a pin's time.
        let metadata = pin.unsafeMetadata
        if metadata.count >= ValueMetadata.errorByteCountMin, metadata.first == ObjectKind.error.rawValue {
            _ = try pin.metadata()
        }
        self.pin = pin
    }

    public var id: ObjectID { pin.id }

    public var byteCount: Int { pin.unsafeData.count }

    public var kind: ObjectKind { pin.unsafeMetadata.first.map(ObjectKind.init) ?? .bytes }

    /// The object's data, without a copy. The start is aligned to 64 bytes.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = RawSpan(_unsafeBytes: pin.unsafeData)
            return _overrideLifetime(span, borrowing: self)
        }
    }

    /// The elements of an array, without a copy, in row-major order.
    ///
    /// The type must be the one that was put, by name and size. Its bits are taken as they are.
    ///
    /// - Throws: `wrongKind` naming both types; `corrupt` when size and shape do not agree.
    @_lifetime(borrow self)
    public func elements<Element: BitwiseCopyable>(
        as type: Element.Type = Element.self
    ) throws(RayStoreError) -> Span<Element> {
        let span = Span(_unsafeElements: try pin.unsafeElements(as: type))
        return _overrideLifetime(span, borrowing: self)
    }

    /// The extents of an array, slowest axis first.
    ///
    /// - Throws: `wrongKind` when the object is no array.
    public var shape: [Int] {
        get throws(RayStoreError) {
            let metadata = try pin.metadata()
            guard case .array(_, _, let shape) = metadata else {
                throw pin.wrongKind(metadata, wanted: "an array")
            }
            return shape
        }
    }

    /// For C. The pointer is valid inside the body.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(pin.unsafeData)
    }

    /// Ends the pin.
    public consuming func release() {}
}
