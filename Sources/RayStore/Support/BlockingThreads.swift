// SPDX-License-Identifier: Apache-2.0
#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// Runs a call that may block (a connect, a disk operation) on a thread of our own, and suspends the caller meanwhile.
///
/// The cooperative pool has a thread a core: a blocked one is a core lost. The body is not interrupted when the task is cancelled. It must
/// not wait for another body given to the same pool: with all threads taken by such waits none would end.
///
/// - Throws: what the body throws; `system` when no thread can be made.
package func runBlocking<Value: Sendable>(
    on threads: BlockingThreads = .shared, _ body: @escaping @Sendable () throws(RayStoreError) -> Value
) async throws(RayStoreError) -> Value {
    let outcome: Result<Value, RayStoreError> = await withCheckedContinuation { continuation in
        let accepted = threads.submit {
            do throws(RayStoreError) {
                continuation.resume(returning: .success(try body()))
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        if !accepted {
            let reason = "no thread can be made for a blocking call: raise the process's thread limit (ulimit -u)"
            continuation.resume(returning: .failure(RayStoreError(.system, reason, systemErrno: EAGAIN)))
        }
    }
    return try outcome.get()
}

/// A bounded pool of threads for calls that block. Threads are made when work waits and end when idle for some seconds.
///
/// @unchecked: all mutable state is guarded by `lock`, a pthread mutex because a condition variable needs one.
package final class BlockingThreads: @unchecked Sendable {
    /// The process's pool. Sixteen threads: blocked threads cost stacks, not cores, and disks and sockets gain little from more.
    package static let shared = BlockingThreads(limit: 16)

    /// For what may wait long for a disk or a server far away, so that the node's clients do not wait behind it.
    package static let slow = BlockingThreads(limit: 16)

    private let limit: Int
    private let idleSeconds: Int
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let workArrived: UnsafeMutablePointer<pthread_cond_t>
    private var queue: [@Sendable () -> Void] = []
    private var head = 0
    private var threadCount = 0
    private var idleCount = 0

    /// A pool of its own; it must live as long as its threads do, so it is never freed before they are idle and gone.
    package init(limit: Int, idleSeconds: Int = 5) {
        precondition(limit > 0, "a pool without threads runs nothing")
        self.limit = limit
        self.idleSeconds = idleSeconds
        lock = .allocate(capacity: 1)
        workArrived = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(workArrived, nil)
    }

    deinit {
        // Every thread holds the pool, so none runs here.
        pthread_cond_destroy(workArrived)
        pthread_mutex_destroy(lock)
        workArrived.deallocate()
        lock.deallocate()
    }

    /// Queues a body. False, and the body never runs, when there is no thread and none can be made.
    package func submit(_ body: @escaping @Sendable () -> Void) -> Bool {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        let waiting = queue.count - head + 1
        if waiting > idleCount, threadCount < limit {
            if startThread() {
                threadCount += 1
            } else if threadCount == 0 {
                return false
            }
        }
        queue.append(body)
        pthread_cond_signal(workArrived)
        return true
    }

    /// The threads that exist now.
    package var liveThreadCount: Int {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return threadCount
    }

    private func startThread() -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let context = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let result = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                Unmanaged<BlockingThreads>.fromOpaque(context).takeRetainedValue().work()
                return nil
            }, context.toOpaque())
        if result != 0 {
            context.release()
        }
        return result == 0
    }

    private func work() {
        while let body = next() {
            body()
        }
    }

    /// The next body, or nil when this thread was idle long enough and has been counted out.
    private func next() -> (@Sendable () -> Void)? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        var deadline = timespec()
        clock_gettime(CLOCK_REALTIME, &deadline)
        deadline.tv_sec += idleSeconds
        while head == queue.count {
            idleCount += 1
            let result = pthread_cond_timedwait(workArrived, lock, &deadline)
            idleCount -= 1
            if result == ETIMEDOUT, head == queue.count {
                threadCount -= 1
                return nil
            }
        }
        let body = queue[head]
        queue[head] = {}  // drops what the body holds as soon as it has run
        head += 1
        if head == queue.count {
            queue.removeAll(keepingCapacity: true)
            head = 0
        }
        return body
    }
}
