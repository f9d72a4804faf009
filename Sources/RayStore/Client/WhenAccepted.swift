// SPDX-License-Identifier: Apache-2.0

/// Sends, and tries again while too many requests of this session are without an answer (`again`): a program that starts a hundred thousand
/// gets at once has to wait, not to fail.
///
/// - Throws: what the body throws but `again`; `cancelled`.
func whenAccepted<Result>(_ send: () throws(RayStoreError) -> Result) async throws(RayStoreError) -> Result {
    while true {
        do throws(RayStoreError) {
            return try send()
        } catch {
            guard error.code == .again else { throw error }
        }
        do {
            try await Task.sleep(for: .milliseconds(1))
        } catch {
            throw RayStoreError(.cancelled, "the task was cancelled")
        }
    }
}

/// The same for code without concurrency; blocks the thread.
func whenAcceptedBlocking<Result>(_ send: () throws(RayStoreError) -> Result) throws(RayStoreError) -> Result {
    while true {
        do throws(RayStoreError) {
            return try send()
        } catch {
            guard error.code == .again else { throw error }
        }
        _ = Latch().wait(.milliseconds(1))
    }
}
