// SPDX-License-Identifier: Apache-2.0

/// A handle of the C core on its way between threads.
///
/// `@unchecked Sendable`: only for handles whose C functions may be called from any thread.
struct CHandle: @unchecked Sendable {
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
    }
}
