// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// A copy that somebody has asked this node to have before anybody here wants it.
struct Prefetch {
    let work: Task<Void, Never>
    /// Ends the prefetch at its time.
    var expiry: Task<Void, Never>
    var until: Duration
    var isHere = false
    /// A failed one keeps nothing alive: it is only remembered for who asks.
    var failure: PeerFailure?
    /// Told apart from a later prefetch of the same object.
    let serial: UInt64

    var keepsCopy: Bool { failure == nil }
}
