// SPDX-License-Identifier: Apache-2.0
internal import NIOCore
internal import RayStore
internal import RayStoreNode
internal import Synchronization

/// Stands before the connections of one listener, or of one client: makes each prove the cluster's key, and remembers how that went.
final class AuthGate: Sendable {
    /// How a connection ended its proof.
    struct Counts: Sendable {
        var pending = 0
        var proved: UInt64 = 0
        var refused: UInt64 = 0
    }

    private struct State {
        var counts = Counts()
        var lastFailure: RayStoreError?
    }

    /// A stranger costs a socket and some hundred bytes until its time is over; this bounds how many do at once. It is above what the
    /// nodes of a cluster need when all connect in the same second, and leaves descriptors free at the usual limit of 1024.
    static let usualPendingLimit = 512

    let key: ClusterKey
    let role: Role
    let timeout: TimeAmount
    /// For the rest of a frame that has begun, once the key is proved; longer than a link is cut. The transport's keepalive is satisfied by
    /// any byte. Nil: the peer is not watched.
    let frameTimeout: TimeAmount?
    private let pendingLimit: Int
    private let state = Mutex(State())

    enum Role {
        case connecting
        case accepting
    }

    init(
        key: ClusterKey, role: Role, timeout: Duration = .seconds(5), pendingLimit: Int = usualPendingLimit,
        frameTimeout: Duration? = nil
    ) {
        self.key = key
        self.role = role
        self.timeout = TimeAmount(timeout)
        self.frameTimeout = frameTimeout.map { TimeAmount($0) }
        self.pendingLimit = pendingLimit
    }

    var counts: Counts { state.withLock { $0.counts } }

    /// Why the last connection could not prove itself; nil when it could.
    var lastFailure: RayStoreError? { state.withLock { $0.lastFailure } }

    /// Puts the gate in front of all that reads and writes this connection. On the connection's event loop.
    func guardConnection(_ channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(AuthHandler(gate: self), position: .first)
        }
    }

    /// Whether one more connection may begin its proof.
    func admit() -> Bool {
        state.withLock { state in
            guard state.counts.pending < pendingLimit else {
                state.counts.refused += 1
                return false
            }
            state.counts.pending += 1
            return true
        }
    }

    /// Takes down how an admitted connection's proof ended.
    func record(_ failure: RayStoreError?) {
        state.withLock { state in
            state.counts.pending -= 1
            if failure == nil { state.counts.proved += 1 } else { state.counts.refused += 1 }
            state.lastFailure = failure
        }
    }
}
