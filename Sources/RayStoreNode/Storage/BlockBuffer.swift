// SPDX-License-Identifier: Apache-2.0

/// Memory of a block, or of packed ones as they lie in a file; not zeroed.
///
/// `@unchecked Sendable`: one thread or storage fills it first, and nobody writes to it then.
final class BlockBuffer: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    init(count: Int) {
        bytes = .allocate(byteCount: count, alignment: 64)
    }

    deinit {
        bytes.deallocate()
    }
}
