// SPDX-License-Identifier: Apache-2.0

/// Time, as the node sees it. A test gives its own, which stands still until it is moved.
public protocol NodeClock: Sendable {
    /// The time since some moment that does not change.
    var now: Duration { get }

    /// Returns once that much time has passed.
    ///
    /// - Throws: `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws
}

/// The machine's monotonic clock.
public struct SystemClock: NodeClock {
    private static let origin = ContinuousClock.now

    public init() {}

    public var now: Duration { ContinuousClock.now - Self.origin }

    public func sleep(for duration: Duration) async throws {
        try await Task.sleep(for: duration, clock: .continuous)
    }
}
