// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// Why the latest pulls of a node went as they did, by object; the oldest are forgotten.
final class Explanations: Sendable {
    static let limit = 64

    private let latest = Mutex<[(id: ObjectID, explanation: TransferExplanation)]>([])

    func note(_ explanation: TransferExplanation, of id: ObjectID) {
        latest.withLock { latest in
            latest.removeAll { $0.id == id }
            if latest.count == Self.limit { latest.removeFirst() }
            latest.append((id, explanation))
        }
    }

    func explanation(of id: ObjectID) -> TransferExplanation? {
        latest.withLock { latest in latest.last { $0.id == id }?.explanation }
    }
}
