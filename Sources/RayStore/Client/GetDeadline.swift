// SPDX-License-Identifier: Apache-2.0

/// Until when a get of several objects goes on, and what it says when the time is over.
struct GetDeadline {
    private let timeout: Duration?
    private let instant: ContinuousClock.Instant?

    /// - Parameter timeout: from now; nil: it goes on until all are there.
    init(timeout: Duration?) {
        self.timeout = timeout
        instant = timeout.map { ContinuousClock.now + $0 }
    }

    var remaining: Duration? {
        instant.map { max(Duration.zero, ContinuousClock.now.duration(to: $0)) }
    }

    /// How long to wait for an answer: a node that answers late is given this much more than the time it was told.
    func limit(grace: Duration) -> Duration? { remaining.map { $0 + grace } }

    /// - Parameters:
    ///   - missing: not empty.
    ///   - told: what the node said when its time was over.
    func error(missing: [ObjectID], of count: Int, told: RayStoreError? = nil) -> RayStoreError {
        let shown = missing.prefix(8).map(\.description).joined(separator: ", ")
        let more = missing.count > 8 ? ", and \(missing.count - 8) more" : ""
        let span = timeout.map { "within \($0)" } ?? "in time"
        let message = "\(missing.count) of \(count) objects did not arrive \(span): \(shown)\(more)"
        return RayStoreError(
            .timedOut, WaitReason.append(told.flatMap(WaitReason.of), to: message), object: missing.first)
    }
}
