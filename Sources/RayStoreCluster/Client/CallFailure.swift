// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import Glibc
internal import NIOCore
internal import GRPCNIOTransportHTTP2Posix
internal import RayStore

/// Why a call has no answer of the other end, and what that says about the connection.
struct CallFailure: Error {
    enum Kind {
        /// No answer in time: slow or gone.
        case timedOut
        /// The connection broke or was never made.
        case broken
        /// The connection is as good as it was.
        case other
    }

    let kind: Kind
    let error: RayStoreError

    init(_ failure: any Error, calling method: String, on connection: ControlConnection, timeout: Duration?) {
        let place = connection.place
        if failure is CancellationError || Task.isCancelled {
            self.init(.other, .cancelled, "the call of \(method) on \(place) was cancelled")
            return
        }
        if let failure = failure as? RayStoreError {
            self.init(.other, failure)
            return
        }
        guard let failure = failure as? RPCError else {
            // GRPCCore's own errors: the client is stopped.
            self.init(.broken, .unreachable, "the connection to \(place) is closed")
            return
        }
        if let ours = Self.cause(of: failure) {
            self.init(.other, ours)
            return
        }
        switch failure.code {
        case .deadlineExceeded:
            let time = timeout.map { " within \($0)" } ?? ""
            self.init(
                connection.gate.lastFailure.map { Self.refused($0, place) }, else: .timedOut, .unreachable,
                "\(place) did not answer\(time); check that the node there runs and that the network between lets it through")
        case .unavailable:
            self.init(
                connection.gate.lastFailure.map { Self.refused($0, place) }, else: .broken, .unreachable,
                "\(place) cannot be reached: \(Self.deepest(failure)); check that a node runs there, the address, and the network between"
            )
        case .unimplemented:
            self.init(
                .other, .protocolError,
                "\(place) does not serve \(method); is it the head of the cluster, and of the same version?")
        case .resourceExhausted:
            self.init(.other, .tooLarge, "a control message between here and \(place) is over the limit: \(failure.message)")
        case .cancelled:
            self.init(.broken, .unreachable, "\(place) ended the call of \(method); is it shutting down?")
        default:
            self.init(
                .broken, .system,
                "\(place) failed to serve \(method): \(failure.message.isEmpty ? "\(failure)" : failure.message)")
        }
    }

    private init(_ kind: Kind, _ error: RayStoreError) {
        self.kind = kind
        self.error = error
    }

    private init(_ kind: Kind, _ code: RayStoreError.Code, _ message: String) {
        self.init(kind, RayStoreError(code, message))
    }

    private init(_ refusal: RayStoreError?, else kind: Kind, _ code: RayStoreError.Code, _ message: String) {
        self.init(refusal == nil ? kind : .broken, refusal ?? RayStoreError(code, message))
    }

    /// What the proof of the key ended with, seen from the end that called.
    private static func refused(_ failure: RayStoreError, _ place: HostPort) -> RayStoreError {
        switch failure.code {
        case .keyRefused:
            RayStoreError(
                .keyRefused, "\(place) does not hold the same cluster key as this process; give it a copy of the head's key file")
        case .unreachable, .peerClosed:
            RayStoreError(.unreachable, "\(place) cannot be reached: \(failure.message)")
        default:
            RayStoreError(failure.code, "\(place): \(failure.message)", systemErrno: failure.systemErrno)
        }
    }

    /// A failure of our own that gRPC wrapped, such as a message that is too large.
    private static func cause(of failure: RPCError) -> RayStoreError? {
        var next = failure.cause
        while let error = next {
            if let ours = error as? RayStoreError { return ours }
            next = (error as? RPCError)?.cause ?? (error as? RuntimeError)?.cause
        }
        return nil
    }

    /// The innermost reason: the outer ones speak of gRPC's channels.
    private static func deepest(_ failure: RPCError) -> String {
        var text = failure.message
        var next = failure.cause
        while let error = next {
            if let error = error as? RPCError {
                text = error.message
                next = error.cause
            } else if let error = error as? IOError {
                // NIO's own text speaks of its channel; the system's says what happened.
                text = String(cString: strerror(error.errnoCode))
                next = nil
            } else {
                text = "\(error)"
                next = nil
            }
        }
        return text
    }
}
