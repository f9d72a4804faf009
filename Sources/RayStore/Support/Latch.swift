// SPDX-License-Identifier: Apache-2.0
#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// A gate that is opened once; threads wait at it. For the blocking forms of the API only: it blocks the thread.
///
/// @unchecked: `isOpen` is guarded by `lock`.
final class Latch: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_mutex_t> = .allocate(capacity: 1)
    private let opened: UnsafeMutablePointer<pthread_cond_t> = .allocate(capacity: 1)
    private var isOpen = false

    init() {
        pthread_mutex_init(lock, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // A change of the wall clock must not end or lengthen a wait.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(opened, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(opened)
        pthread_mutex_destroy(lock)
        opened.deallocate()
        lock.deallocate()
    }

    func open() {
        pthread_mutex_lock(lock)
        isOpen = true
        pthread_cond_broadcast(opened)
        pthread_mutex_unlock(lock)
    }

    /// Waits until it is open; false when the time runs out first. No timeout: for ever.
    func wait(_ timeout: Duration?) -> Bool {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        guard let timeout, timeout < .seconds(1 << 32) else {
            while !isOpen {
                pthread_cond_wait(opened, lock)
            }
            return true
        }
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        let nanoseconds = timeout.nanosecondsClamped + UInt64(deadline.tv_nsec)
        deadline.tv_sec += Int(nanoseconds / 1_000_000_000)
        deadline.tv_nsec = Int(nanoseconds % 1_000_000_000)
        while !isOpen {
            if pthread_cond_timedwait(opened, lock, &deadline) == ETIMEDOUT {
                return isOpen
            }
        }
        return true
    }
}
