// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// A part of an object's data or of a file.
struct ByteRange: Hashable, Sendable {
    let offset: UInt64
    /// 0: to the end.
    let size: UInt64

    /// How many bytes it has of so many.
    func count(of whole: UInt64) -> UInt64 {
        let rest = offset < whole ? whole - offset : 0
        return size == 0 ? rest : min(size, rest)
    }
}

/// Where a part goes that is pulled. Called from the engine's threads, one call at a time.
protocol RangeSink: Sendable {
    var wanted: ByteRange { get }

    /// Makes room and calls `ray_pull_into_memory`.
    func open(_ pull: OpaquePointer, _ card: ray_card) -> ray_status

    /// The pull is over, `open` or not: keeps the part, or undoes all.
    ///
    /// - Returns: why there is no part.
    func end(with failure: RayStoreError?) -> RayStoreError?
}
