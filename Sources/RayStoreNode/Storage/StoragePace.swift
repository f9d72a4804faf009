// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// How fast a storage takes what is written to it, and what packing costs and gains here: the codec of each block is chosen by that.
///
/// `@unchecked Sendable`: the C side has a lock of its own; it is freed with the last reference.
package final class StoragePace: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Nil without memory: then every block that shrinks is packed in the same way.
    package init?() {
        var made: OpaquePointer?
        guard ray_spill_pace_create(&made) == .ok, let made else { return nil }
        pointer = made
    }

    deinit {
        ray_spill_pace_destroy(pointer)
    }

    /// Bytes a second; 0 before anything is known.
    package var rate: Double { ray_spill_pace_rate(pointer) }

    /// A file was taken while so many were under way, this one included.
    package func note(_ bytes: UInt64, in span: Duration, beside files: Int) {
        ray_spill_pace_note(pointer, bytes * UInt64(max(files, 1)), span.nanosecondsClamped)
    }
}
