// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// Tells work on a thread of our own, which no task's cancellation reaches, to stop.
final class CancelFlag: Sendable {
    private let value = Atomic(false)

    func set() {
        value.store(true, ordering: .relaxed)
    }

    /// - Throws: `cancelled` once it was set.
    func check() throws(RayStoreError) {
        if value.load(ordering: .relaxed) { throw RayStoreError(.cancelled, "stopped in the middle of the work") }
    }
}

/// Runs a body that may block for long on a thread of our own; the body looks at the flag now and then.
func runCancellable<Value: Sendable>(
    _ body: @escaping @Sendable (CancelFlag) throws(RayStoreError) -> Value
) async throws(RayStoreError) -> Value {
    let flag = CancelFlag()
    let outcome = await withTaskCancellationHandler {
        do throws(RayStoreError) {
            return Result<Value, RayStoreError>.success(try await runBlocking { () throws(RayStoreError) in try body(flag) })
        } catch {
            return .failure(error)
        }
    } onCancel: {
        flag.set()
    }
    return try outcome.get()
}
