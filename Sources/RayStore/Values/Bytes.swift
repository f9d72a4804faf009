// SPDX-License-Identifier: Apache-2.0

/// The bytes of an object, read where they lie in the store. As long as a `Bytes` exists the object is pinned; copies of it share the pin.
///
/// A collection of `UInt8`; `Array(bytes)` copies.
public struct Bytes: Sendable {
    private let pin: SharedPin

    init(_ pin: SharedPin) {
        self.pin = pin
    }

    /// The bytes, without a copy.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // The pin lives as long as self is borrowed.
            let span = RawSpan(_unsafeBytes: pin.pin.unsafeData)
            return _overrideLifetime(span, borrowing: self)
        }
    }

    /// For C. The pointer is valid inside the body.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(pin) {} }
        return try body(pin.pin.unsafeData)
    }
}

extension Bytes: RandomAccessCollection {
    public var startIndex: Int { 0 }

    public var endIndex: Int { pin.pin.unsafeData.count }

    public subscript(position: Int) -> UInt8 {
        let data = pin.pin.unsafeData
        precondition(position >= 0 && position < data.count, "index out of range")
        return withExtendedLifetime(pin) { data[position] }
    }

    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        defer { withExtendedLifetime(pin) {} }
        return try body(pin.pin.unsafeData.assumingMemoryBound(to: UInt8.self))
    }
}

extension Bytes: Hashable {
    public static func == (a: Bytes, b: Bytes) -> Bool {
        a.count == b.count && (a.pin === b.pin || a.elementsEqual(b))
    }

    public func hash(into hasher: inout Hasher) {
        withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}
