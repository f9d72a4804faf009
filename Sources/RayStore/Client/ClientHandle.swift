// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Synchronization

/// The C client behind a session, shared by everything that came out of the session: refs, pins, files, requests.
///
/// Closing unmaps the store, so it has to wait for whoever is inside a call or reads pinned memory. `users` counts calls in its low half
/// and pins in its high half; its top bit says that the session is closing. From then on nobody gets in, and the last one out closes. Refs are
/// not counted: a ref that outlives its session does nothing when it goes.
///
/// @unchecked: the C client may be used by any thread; that it still exists is what `users` guards.
package final class ClientHandle: @unchecked Sendable {
    private static let closingBit: UInt64 = 1 << 63
    static let call: UInt64 = 1
    static let pin: UInt64 = 1 << 32

    private let client: OpaquePointer
    /// Nil for a guarded reader, for whom the node does what others do in shared memory.
    private let store: OpaquePointer?
    private let users = Atomic<UInt64>(0)
    private let ending = Mutex(Ending())

    private struct Ending {
        var isOver = false
        var hooks: [@Sendable () async -> Void] = []
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    /// Takes a connected client over.
    init(client: OpaquePointer) {
        self.client = client
        store = ray_client_store(client)
    }

    // ---- being inside ----

    /// Makes sure that the client exists until `leave`.
    ///
    /// - Throws: `closed`.
    @inline(__always)
    func enter(as user: UInt64 = call) throws(RayStoreError) {
        var count = users.load(ordering: .relaxed)
        while true {
            guard count & Self.closingBit == 0 else { throw Self.closedError }
            let (exchanged, original) = users.weakCompareExchange(
                expected: count, desired: count + user, ordering: .acquiring)
            if exchanged { return }
            count = original
        }
    }

    @inline(__always)
    func leave(as user: UInt64 = call) {
        if users.subtract(user, ordering: .acquiringAndReleasing).newValue == Self.closingBit {
            end()
        }
    }

    @inline(__always)
    func withClient<Result>(
        _ body: (OpaquePointer) throws(RayStoreError) -> Result
    ) throws(RayStoreError) -> Result {
        try enter()
        defer { leave() }
        return try body(client)
    }

    @inline(__always)
    func withStore<Result>(
        _ body: (OpaquePointer) throws(RayStoreError) -> Result
    ) throws(RayStoreError) -> Result {
        guard let store else { throw Self.guardedError }
        try enter()
        defer { leave() }
        return try body(store)
    }

    /// The store, for who has entered, in a session with full access.
    var storeInside: OpaquePointer { store! }

    /// The client, for who has entered.
    var clientInside: OpaquePointer { client }

    var isGuarded: Bool { store == nil }

    static var guardedError: RayStoreError {
        RayStoreError(.unsupported, "a guarded reader cannot write: connect with full access, as the node's user")
    }

    static var closedError: RayStoreError {
        RayStoreError(.closed, "the session is closed: connect again")
    }

    // ---- the end ----

    var isClosing: Bool { users.load(ordering: .relaxed) & Self.closingBit != 0 }

    /// Runs after the client is closed; at once if it is already.
    func onClose(_ hook: @escaping @Sendable () async -> Void) {
        let isOver = ending.withLock {
            if !$0.isOver { $0.hooks.append(hook) }
            return $0.isOver
        }
        if isOver {
            Task.detached { await hook() }
        }
    }

    /// Lets nobody in any more. Never blocks; the last one out closes.
    func beginClose() {
        if users.bitwiseOr(Self.closingBit, ordering: .acquiringAndReleasing).oldValue == 0 {
            end()
        }
    }

    /// Whether closing has to wait for somebody who may take as long as he likes.
    var hasPins: Bool { users.load(ordering: .acquiring) & ~Self.closingBit >= Self.pin }

    /// Returns when the client is closed and the hooks have run.
    func waitUntilClosed() async {
        await withCheckedContinuation { continuation in
            let isOver = ending.withLock {
                if !$0.isOver { $0.waiters.append(continuation) }
                return $0.isOver
            }
            if isOver {
                continuation.resume()
            }
        }
    }

    // Runs exactly once: after the closing bit is set the count only falls. Closing waits for the client's thread, and the last
    // one out may be that very thread, or any task: so it is done on a thread of ours. Without a thread to be had the client stays open
    // and the kernel closes it with the process.
    private func end() {
        _ = BlockingThreads.shared.submit { [self] in
            ray_client_close(client)
            let hooks = ending.withLock { state in
                defer { state.hooks = [] }
                return state.hooks
            }
            guard !hooks.isEmpty else { return over() }
            Task.detached { [self] in
                for hook in hooks {
                    await hook()
                }
                over()
            }
        }
    }

    private func over() {
        let waiters = ending.withLock { state in
            state.isOver = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters {
            waiter.resume()
        }
    }
}
