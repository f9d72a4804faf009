// SPDX-License-Identifier: Apache-2.0

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// Memory that stays as it is as long as somebody holds it: of a pinned object, or a block of the process's own.
enum ByteMemory: Sendable {
    case pinned(SharedPin)
    case owned(ByteBlock)

    /// Valid as long as self.
    var unsafeData: UnsafeRawBufferPointer {
        switch self {
        case .pinned(let pin): pin.pin.unsafeData
        case .owned(let block): block.unsafeData
        }
    }

    func isSame(as other: ByteMemory) -> Bool {
        switch (self, other) {
        case (.pinned(let a), .pinned(let b)): a === b
        case (.owned(let a), .owned(let b)): a === b
        default: false
        }
    }
}

/// A block of the process's own memory.
///
/// @unchecked: filled in `init`, and only read afterwards.
final class ByteBlock: @unchecked Sendable {
    private let start: UnsafeMutableRawPointer
    private let count: Int

    /// - Parameter fill: writes the bytes and says how many there are.
    /// - Throws: `outOfMemory`; what `fill` throws.
    init(
        capacity: Int, unsafeFill fill: (UnsafeMutableRawPointer) throws(RayStoreError) -> Int
    ) throws(RayStoreError) {
        // Not Swift's own allocation, which ends the process when there is no room.
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, 64, max(capacity, 1)) == 0, let start = memory else {
            throw RayStoreError(.outOfMemory, "there is no memory for \(capacity) bytes: read less at a time")
        }
        do throws(RayStoreError) {
            count = min(try fill(start), capacity)
        } catch {
            free(start)
            throw error
        }
        self.start = start
    }

    deinit {
        free(start)
    }

    var unsafeData: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }
}
