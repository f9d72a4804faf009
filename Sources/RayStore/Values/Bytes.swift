// SPDX-License-Identifier: Apache-2.0

/// The bytes of an object, or a part of them, read where they lie in the store. As long as a `Bytes` exists the object is pinned; copies of it share
/// the pin. What was read of a file lies in memory of its own, which copies share too.
///
/// A collection of `UInt8`; `Array(bytes)` copies.
public struct Bytes: Sendable {
    private let memory: ByteMemory
    private let range: Range<Int>

    init(_ pin: SharedPin) {
        memory = .pinned(pin)
        range = 0..<pin.pin.unsafeData.count
    }

    /// Of these bytes of the memory as many as there are.
    init(_ memory: ByteMemory, _ range: Range<Int>) {
        self.memory = memory
        self.range = range.clamped(to: 0..<memory.unsafeData.count)
    }

    private var unsafeData: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: memory.unsafeData[range])
    }

    /// The bytes, without a copy.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // The memory lives as long as self is borrowed.
            let span = RawSpan(_unsafeBytes: unsafeData)
            return _overrideLifetime(span, borrowing: self)
        }
    }

    /// For C. The pointer is valid inside the body.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(memory) {} }
        return try body(unsafeData)
    }
}

extension Bytes: RandomAccessCollection {
    public var startIndex: Int { 0 }

    public var endIndex: Int { range.count }

    public subscript(position: Int) -> UInt8 {
        precondition(position >= 0 && position < range.count, "index out of range")
        return withExtendedLifetime(memory) { memory.unsafeData[range.lowerBound + position] }
    }

    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        defer { withExtendedLifetime(memory) {} }
        return try body(unsafeData.assumingMemoryBound(to: UInt8.self))
    }

    /// What `Array(bytes)` is made with: at once, also in a debug build, where one byte after the other takes seconds for some megabytes.
    // swift-format-ignore: NoLeadingUnderscores
    public func _copyContents(initializing target: UnsafeMutableBufferPointer<UInt8>) -> (IndexingIterator<Bytes>, Int) {
        let copied = Swift.min(count, target.count)
        let place = UnsafeMutableRawBufferPointer(target)
        withUnsafeBytes { place.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<copied])) }
        let rest = Bytes(memory, (range.lowerBound + copied)..<range.upperBound)
        return (IndexingIterator(_elements: rest), copied)
    }
}

extension Bytes: Hashable {
    public static func == (a: Bytes, b: Bytes) -> Bool {
        a.count == b.count && (a.range == b.range && a.memory.isSame(as: b.memory) || a.elementsEqual(b))
    }

    public func hash(into hasher: inout Hasher) {
        withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}
