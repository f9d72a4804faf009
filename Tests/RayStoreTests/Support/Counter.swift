// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// A number that several tasks and threads count up.
final class Counter: Sendable {
    private let value = Atomic<Int>(0)

    func up() {
        value.add(1, ordering: .relaxed)
    }

    var count: Int { value.load(ordering: .relaxed) }
}
