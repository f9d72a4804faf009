// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Synchronization

/// A reference to an object, whatever its value is. As long as one exists, anywhere, the object is kept.
///
/// Two refs are equal when they name the same object.
///
/// @unchecked: not final, so that `ObjectRef` can add its type; every stored property is Sendable, and there is no subclass outside
/// of this module.
public class AnyObjectRef: @unchecked Sendable {
    /// The 28 bytes that name the object. An id alone keeps nothing alive; see ``ObjectRef/shared()``.
    public let id: ObjectID

    let handle: ClientHandle

    private enum Standing: Sendable {
        /// Decoded, not yet registered with its owner.
        case unopened
        case open
        case failed(RayStoreError)
    }

    private struct State {
        var standing: Standing
        /// The node learns through this request which objects this one contains.
        var registration: PendingRequest?
    }

    private let state: Mutex<State>
    /// The same as the standing, for those who only want to know whether all is well: every get asks.
    private let isOpen: Atomic<Bool>

    /// - Parameter isOpen: true takes over a ref that this process holds in the store.
    init(id: ObjectID, handle: ClientHandle, isOpen: Bool) {
        self.id = id
        self.handle = handle
        state = Mutex(State(standing: isOpen ? .open : .unopened))
        self.isOpen = Atomic(isOpen)
    }

    deinit {
        guard isOpen.load(ordering: .acquiring) else { return }
        // After the session's close there is nothing to drop: it dropped all.
        try? handle.withClient { client throws(RayStoreError) in
            _ = id.withC { ray_client_release_ref(client, &$0) }
        }
    }

    /// - Throws: `invalidArgument` for a ref of another session; why it could not be opened; `badRef` when nobody tried.
    func checkUsable(over handle: ClientHandle) throws(RayStoreError) {
        guard handle === self.handle else {
            throw RayStoreError(
                .invalidArgument, "\(id) is a ref of another session: pass it on with shared() and open it here", object: id)
        }
        guard !isOpen.load(ordering: .acquiring) else { return }
        switch state.withLock({ $0.standing }) {
        case .open: return
        case .failed(let error): throw error
        case .unopened:
            throw RayStoreError(.badRef, "\(id) was decoded, but not opened: get the value again", object: id)
        }
    }

    // ---- what the object contains ----

    func setRegistration(_ request: PendingRequest) {
        state.withLock { $0.registration = request }
    }

    /// Whether the node has been told of what the object contains.
    var hasRegistration: Bool { state.withLock { $0.registration != nil } }

    /// Returns once the node knows what the object contains: before that its id must not leave the process.
    func registered() async throws(RayStoreError) {
        guard let registration = state.withLock({ $0.registration }) else { return }
        if let error = await registration.answer(onCancel: .ignore).error { throw error }
    }

    func registeredBlocking() throws(RayStoreError) {
        guard let registration = state.withLock({ $0.registration }) else { return }
        if let error = registration.answerBlocking().error { throw error }
    }

    // ---- opening ----

    private func openRequest() throws(RayStoreError) -> PendingRequest {
        var payload = PayloadWriter()
        payload.append(id)
        return try PendingRequest.send(.openRef, payload, over: handle)
    }

    /// A guarded reader's own ref, which the node keeps for it.
    private func holdRequest() throws(RayStoreError) -> PendingRequest {
        var payload = PayloadWriter()
        payload.append(id)
        return try PendingRequest.send(.holdRef, payload, over: handle)
    }

    // The node has set the slot's bit. The object may have ended since, so taking ours may fail; then the node is asked again. True when
    // done.
    private func take(_ answer: PendingRequest.Answer) throws(RayStoreError) -> Bool {
        // Of a guarded reader the node takes it, and has said so.
        if handle.isGuarded, answer.error?.code == .notFound { return false }
        _ = try answer.get()
        if handle.isGuarded { return true }
        let status = try handle.withStore { store throws(RayStoreError) in
            let status = id.withC { ray_ref_acquire(store, &$0) }
            guard status == .ok || status == .notFound else { throw RayStoreError(status: status.rawValue, object: id) }
            return status
        }
        return status == .ok
    }

    private func settle(_ error: RayStoreError?) {
        state.withLock { $0.standing = error.map { .failed($0) } ?? .open }
        isOpen.store(error == nil, ordering: .releasing)
    }

    /// Until the end, no other ref of the object that goes takes away what the node gives for this one.
    private func beginOpening() throws(RayStoreError) {
        try handle.withClient { client throws(RayStoreError) in
            try RayStoreError.check(object: id) { id.withC { ray_client_opening_begin(client, &$0) }.rawValue }
        }
    }

    private func endOpening() {
        // After the session's close there is nothing to end.
        try? handle.withClient { client throws(RayStoreError) in id.withC { ray_client_opening_end(client, &$0) } }
    }

    private static let attempts = 3

    private var goneError: RayStoreError {
        RayStoreError(.objectFreed, "\(id) went while it was being opened: keep a ref until the receiver has its own", object: id)
    }

    /// Registers the ref with the object's owner. A failure is kept and thrown by whatever the ref is used for.
    func open() async {
        do throws(RayStoreError) {
            try beginOpening()
            defer { endOpening() }
            for _ in 0..<Self.attempts {
                let request = try await whenAccepted { () throws(RayStoreError) in try openRequest() }
                var answer = await request.answer(onCancel: .ignore)
                if handle.isGuarded {
                    _ = try answer.get()
                    answer = await (try await whenAccepted { () throws(RayStoreError) in try holdRequest() }).answer(
                        onCancel: .ignore)
                }
                if try take(answer) { return settle(nil) }
            }
            settle(goneError)
        } catch {
            settle(error.about(id))
        }
    }

    func openBlocking() {
        do throws(RayStoreError) {
            try beginOpening()
            defer { endOpening() }
            for _ in 0..<Self.attempts {
                let request = try whenAcceptedBlocking { () throws(RayStoreError) in try openRequest() }
                var answer = request.answerBlocking()
                if handle.isGuarded {
                    _ = try answer.get()
                    answer = try whenAcceptedBlocking { () throws(RayStoreError) in try holdRequest() }.answerBlocking()
                }
                if try take(answer) { return settle(nil) }
            }
            settle(goneError)
        } catch {
            settle(error.about(id))
        }
    }
}

extension AnyObjectRef: Hashable {
    public static func == (a: AnyObjectRef, b: AnyObjectRef) -> Bool { a.id == b.id }

    public func hash(into hasher: inout Hasher) { hasher.combine(id) }
}

extension AnyObjectRef: CustomStringConvertible {
    public var description: String { "ref \(id)" }
}

extension RayStoreError {
    /// The same with the object named, unless one is named already.
    func about(_ id: ObjectID) -> RayStoreError {
        object == nil ? RayStoreError(code, message, systemErrno: systemErrno, object: id) : self
    }
}
