// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// Something that happens once, and is seen by everyone from then on.
final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .acquiring) }

    /// Whether it was set before.
    @discardableResult
    func set() -> Bool { value.exchange(true, ordering: .acquiringAndReleasing) }
}
