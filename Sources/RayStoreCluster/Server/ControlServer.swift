// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import NIOCore
internal import RayStore
internal import RayStoreNode

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// The control port of a node: serves the node to its peers and, at the head, the control store. It cannot be made without a key.
final class ControlServer: Sendable {
    let port: UInt16
    private let gate: AuthGate
    private let relay: PeerRelay
    private let server: GRPCServer<HTTP2ServerTransport.Posix>
    private let serving: Task<Void, any Error>

    /// Binds the port and serves from then on.
    ///
    /// - Parameters:
    ///   - host: an IP address of this machine, or `localhost`.
    ///   - port: 0 for any free one.
    ///   - control: what the head serves besides; nil at the other nodes.
    /// - Throws: `addressInUse` naming the address; `invalidArgument` when the host is not one of this machine; `system`.
    static func start(
        host: String, port: UInt16, key: ClusterKey, control: (any ControlStore)? = nil,
        handshakeTimeout: Duration = .seconds(5), strangerLimit: Int = AuthGate.usualPendingLimit,
        frameTimeout: Duration = .seconds(15)
    ) async throws(RayStoreError) -> ControlServer {
        let gate = AuthGate(
            key: key, role: .accepting, timeout: handshakeTimeout, pendingLimit: strangerLimit, frameTimeout: frameTimeout)
        let relay = PeerRelay()
        let transport = HTTP2ServerTransport.Posix(
            address: try address(host, port), transportSecurity: .plaintext,
            config: .defaults { config in
                config.rpc.maxRequestPayloadSize = JSONCoding.maximumBytes + 1024
                config.connection.keepalive.time = .seconds(10)
                config.connection.keepalive.timeout = .seconds(5)
                config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
                config.connection.keepalive.clientBehavior.allowWithoutCalls = true
                config.connection.flushCoalescing = nil
                config.channelDebuggingCallbacks.onAcceptTCPConnection = { gate.guardConnection($0) }
            })
        var services: [any RegistrableRPCService] = [relay]
        if let control { services.append(ControlService(store: control)) }
        let server = GRPCServer(transport: transport, services: services)
        let serving = Task { try await server.serve() }
        let place = HostPort(host: host, port: port)
        do {
            let address = try await transport.listeningAddress
            guard let bound = address.ipv4?.port ?? address.ipv6?.port else {
                throw RayStoreError(.system, "\(place) has no port after binding")
            }
            return ControlServer(port: UInt16(bound), gate: gate, relay: relay, server: server, serving: serving)
        } catch {
            serving.cancel()
            // The transport only says that there is no address; why is in what serving ended with.
            let reason = await serving.result
            throw bindFailure(reason, or: error, place)
        }
    }

    private init(
        port: UInt16, gate: AuthGate, relay: PeerRelay, server: GRPCServer<HTTP2ServerTransport.Posix>,
        serving: Task<Void, any Error>
    ) {
        self.port = port
        self.gate = gate
        self.relay = relay
        self.server = server
        self.serving = serving
    }

    deinit {
        serving.cancel()
    }

    /// Whom the requests of other nodes go to from now on; nil for nobody.
    func serve(_ peer: (any PeerService)?) {
        relay.serve(peer)
    }

    /// How many connections proved the key, and how many were refused.
    var connections: AuthGate.Counts { gate.counts }

    /// Takes no more connections, gives calls in flight a moment, and returns when nothing is left.
    func stop(grace: Duration = .seconds(1)) async {
        relay.serve(nil)
        server.beginGracefulShutdown()
        let cut = Task { [serving] in
            try? await Task.sleep(for: grace)
            serving.cancel()
        }
        _ = await serving.result
        cut.cancel()
    }
}

// MARK: - Binding

extension ControlServer {
    private static func address(_ host: String, _ port: UInt16) throws(RayStoreError) -> GRPCNIOTransportHTTP2Posix.SocketAddress
    {
        switch IPAddress(host) {
        case .v4: return .ipv4(host: host, port: Int(port))
        case .v6: return .ipv6(host: host, port: Int(port))
        case nil where host == "localhost": return .ipv4(host: "127.0.0.1", port: Int(port))
        case nil:
            throw RayStoreError(
                .invalidArgument,
                "'\(host)' is not an IP address to listen on; give one of this machine's, or 0.0.0.0 for all of them")
        }
    }

    private static func bindFailure(_ reason: Result<Void, any Error>, or error: any Error, _ place: HostPort) -> RayStoreError {
        var next: (any Error)? = error
        if case .failure(let failure) = reason { next = failure }
        while let error = next {
            if let error = error as? RayStoreError { return error }
            if let error = error as? IOError { return bindFailure(error, place) }
            next = (error as? RuntimeError)?.cause ?? (error as? RPCError)?.cause
        }
        return RayStoreError(.system, "\(place) cannot be listened on: \(error)")
    }

    private static func bindFailure(_ error: IOError, _ place: HostPort) -> RayStoreError {
        let number = error.errnoCode
        switch number {
        case EADDRINUSE:
            return RayStoreError(
                .addressInUse, "\(place) is in use by another program; stop it or choose another port", systemErrno: number)
        case EADDRNOTAVAIL:
            return RayStoreError(
                .invalidArgument, "\(place.host) is not an address of this machine; give one that is, or 0.0.0.0 for all of them",
                systemErrno: number)
        case EACCES:
            return RayStoreError(
                .system, "\(place) may not be listened on by this user; choose a port above 1023", systemErrno: number)
        default:
            return RayStoreError(.system, "\(place) cannot be listened on: \(error)", systemErrno: number)
        }
    }
}
