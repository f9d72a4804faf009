// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// A client's time as the rooms take it, in nanoseconds: `UInt64.max` is without end.
func limit(of timeout: UInt64) -> Duration? {
    timeout == .max ? nil : .nanoseconds(Int64(clamping: timeout))
}

/// Runs work for at most so many nanoseconds; `UInt64.max` is without end. Work that runs over is cancelled and waited for.
///
/// - Parameter timeoutError: told what the work threw when it was cancelled.
func withTimeout(
    _ nanoseconds: UInt64, clock: any NodeClock, _ work: @escaping @Sendable () async throws(RayStoreError) -> Void,
    orThrow timeoutError: @Sendable (_ cancelled: RayStoreError?) -> RayStoreError
) async throws(RayStoreError) {
    guard let limit = limit(of: nanoseconds) else {
        try await work()
        return
    }
    enum Outcome {
        case done(RayStoreError?)
        case timeIsUp
        case cancelled(RayStoreError?)
    }
    let outcome = await withTaskGroup(of: Outcome.self) { group in
        group.addTask {
            do throws(RayStoreError) {
                try await work()
                return .done(nil)
            } catch {
                return .done(error)
            }
        }
        group.addTask {
            try? await clock.sleep(for: limit)
            return .timeIsUp
        }
        let first = await group.next()!
        group.cancelAll()
        guard case .timeIsUp = first, case .done(let error)? = await group.next() else { return first }
        return .cancelled(error)
    }
    switch outcome {
    case .done(nil): return
    case .done(let error?): throw error
    case .timeIsUp: throw timeoutError(nil)
    case .cancelled(let error): throw timeoutError(error)
    }
}
