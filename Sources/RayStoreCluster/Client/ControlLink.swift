// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import RayStore
internal import RayStoreNode
internal import Synchronization

/// The way to one address, for as long as somebody wants to speak with it: keeps a connection, replaces one that failed, and turns
/// gRPC's failures into RayStore's.
final class ControlLink: Sendable {
    private struct State {
        var connection: ControlConnection?
        /// Whether the connection has carried an answer; only then may its failure be its age and not the peer's.
        var hasAnswered = false
        var timeoutsInARow = 0
        var isClosed = false
        /// Connections that are no longer used and let their calls finish.
        var leaving: [ObjectIdentifier: (connection: ControlConnection, end: Task<Void, Never>)] = [:]
    }

    /// One slow answer may be the peer's load; two in a row are taken for a connection that leads nowhere.
    private static let timeoutLimit = 2

    let place: HostPort
    private let key: ClusterKey
    private let state = Mutex(State())

    init(to place: HostPort, key: ClusterKey) {
        self.place = place
        self.key = key
    }

    /// Calls a method and waits for its answer.
    ///
    /// - Throws: what the other end answered; `keyRefused` or `versionMismatch` when the ends do not accept each other; `unreachable` when there was no answer.
    func call<Request, Answer>(
        _ method: Method<Request, Answer>, _ request: Request, timeout: Duration
    ) async throws(RayStoreError) -> Answer {
        let message = try JSONCoding.encode(request)
        let (connection, hasAnswered) = try current()
        let reply: Reply<Answer>
        do throws(CallFailure) {
            reply = try await attempt(method, message, timeout, on: connection)
        } catch {
            guard error.kind == .broken && hasAnswered && method.isRepeatable else { throw error.error }
            // The connection was good once: the other end may have restarted since. A new one tells.
            let fresh = try current().connection
            do throws(CallFailure) {
                reply = try await attempt(method, message, timeout, on: fresh)
            } catch {
                throw error.error
            }
        }
        return try reply.get()
    }

    /// Listens to what a method streams until the other end ends it. The first closure runs when the other end has begun, before anything is read.
    ///
    /// - Parameter timeout: how long the beginning may take. A stream that has begun may be silent for ever.
    func listen<Answer: Codable & Sendable>(
        _ method: Method<Nothing, Answer>, timeout: Duration, begun: @escaping @Sendable () async throws -> Void,
        each: @escaping @Sendable (Answer) -> Void
    ) async throws(RayStoreError) {
        let message = try JSONCoding.encode(Nothing())
        let connection = try current().connection
        let hasBegun = Flag()
        do {
            try await withThrowingTaskGroup { group in
                group.addTask {
                    try await connection.client.serverStreaming(
                        request: ClientRequest(message: message), descriptor: method.descriptor,
                        serializer: EncodedSerializer(), deserializer: JSONDeserializer<Answer>(),
                        options: ControlConnection.options(timeout: nil)
                    ) { response in
                        _ = try response.accepted.get()
                        hasBegun.set()
                        self.answered(on: connection)
                        try await begun()
                        for try await message in response.messages { each(message) }
                    }
                    return true
                }
                group.addTask {
                    // A stream that waits for a connection is not told when its client is shut down; it would wait for ever.
                    try await Task.sleep(for: timeout)
                    if hasBegun.isSet { return false }
                    throw RPCError(code: .deadlineExceeded, message: "the stream did not begin in time")
                }
                defer { group.cancelAll() }
                while let isOver = try await group.next(), !isOver {}
            }
        } catch {
            throw failed(error, method.descriptor.method, on: connection, timeout: timeout).error
        }
    }

    /// Ends the link and all its calls. Returns when nothing of it runs.
    func close() async {
        let (connection, leaving) = state.withLock { state in
            state.isClosed = true
            defer {
                state.connection = nil
                state.leaving = [:]
            }
            return (state.connection, Array(state.leaving.values))
        }
        for old in leaving { old.connection.cut() }
        await connection?.close(grace: .milliseconds(200))
        for old in leaving { await old.end.value }
    }

    // MARK: One attempt

    private func attempt<Request, Answer>(
        _ method: Method<Request, Answer>, _ message: EncodedMessage, _ timeout: Duration, on connection: ControlConnection
    ) async throws(CallFailure) -> Reply<Answer> {
        do {
            let reply = try await connection.client.unary(
                request: ClientRequest(message: message), descriptor: method.descriptor,
                serializer: EncodedSerializer(), deserializer: JSONDeserializer<Reply<Answer>>(),
                options: ControlConnection.options(timeout: timeout)
            ) { try $0.message }
            answered(on: connection)
            return reply
        } catch {
            throw failed(error, method.descriptor.method, on: connection, timeout: timeout)
        }
    }

    private func current() throws(RayStoreError) -> (connection: ControlConnection, hasAnswered: Bool) {
        try state.withLock { state throws(RayStoreError) in
            if state.isClosed { throw RayStoreError(.closed, "the connection to \(place) is closed") }
            if let connection = state.connection { return (connection, state.hasAnswered) }
            let connection = try ControlConnection(to: place, key: key)
            state.connection = connection
            state.hasAnswered = false
            state.timeoutsInARow = 0
            return (connection, false)
        }
    }

    private func answered(on connection: ControlConnection) {
        state.withLock { state in
            guard state.connection === connection else { return }
            state.hasAnswered = true
            state.timeoutsInARow = 0
        }
    }

    private func failed(_ error: any Error, _ method: String, on connection: ControlConnection, timeout: Duration?) -> CallFailure
    {
        let failure = CallFailure(error, calling: method, on: connection, timeout: timeout)
        state.withLock { state in
            guard state.connection === connection else { return }
            if failure.kind == .timedOut { state.timeoutsInARow += 1 }
            if failure.kind == .broken || state.timeoutsInARow >= Self.timeoutLimit { discard(&state) }
        }
        return failure
    }

    /// Takes the connection out of use. Other calls may still get their answers on it for a while.
    private func discard(_ state: inout State) {
        guard let connection = state.connection else { return }
        state.connection = nil
        let id = ObjectIdentifier(connection)
        let end = Task {
            await connection.close(grace: .seconds(5))
            self.state.withLock { _ = $0.leaving.removeValue(forKey: id) }
        }
        state.leaving[id] = (connection, end)
    }
}
