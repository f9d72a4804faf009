// SPDX-License-Identifier: Apache-2.0
internal import Dispatch

/// Runs an actor on a queue of its own, so that calls into SQLite block neither the cooperative pool nor the order of the actor's calls.
final class StoreExecutor: SerialExecutor {
    private let queue: DispatchQueue

    init(label: String) {
        queue = DispatchQueue(label: label)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
