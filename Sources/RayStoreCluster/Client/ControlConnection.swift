// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import RayStore
internal import RayStoreNode

/// One gRPC client of one address, with the proof of the key in front of it.
///
/// It keeps at most one connection open and makes it again when it closed while idle. It is thrown away at the first attempt that
/// fails, so nothing goes on knocking at a dead door, or at one whose key is another, behind the caller's back.
final class ControlConnection: Sendable {
    let place: HostPort
    let gate: AuthGate
    let client: GRPCClient<HTTP2ClientTransport.Posix>
    private let run: Task<Void, Never>

    init(to place: HostPort, key: ClusterKey) throws(RayStoreError) {
        self.place = place
        let gate = AuthGate(key: key, role: .connecting)
        self.gate = gate
        let target: any ResolvableTarget =
            switch IPAddress(place.host) {
            case .v4: .ipv4(address: place.host, port: Int(place.port))
            case .v6: .ipv6(address: place.host, port: Int(place.port))
            case nil: .dns(host: place.host, port: Int(place.port))
            }
        do {
            let transport = try HTTP2ClientTransport.Posix(
                target: target, transportSecurity: .plaintext,
                config: .defaults { config in
                    // A machine that vanished without a word is noticed by its silence, also under a stream that only listens.
                    config.connection.keepalive = .init(time: .seconds(10), timeout: .seconds(5), allowWithoutCalls: false)
                    config.connection.flushCoalescing = nil
                    // After a failure the owner makes another client, or none; this one is not to try again before it is thrown away.
                    config.backoff = .init(initial: .seconds(60), max: .seconds(60), multiplier: 1, jitter: 0)
                    config.channelDebuggingCallbacks.onCreateTCPConnection = { gate.guardConnection($0) }
                })
            client = GRPCClient(transport: transport)
        } catch {
            throw RayStoreError(.unreachable, "no connection to \(place) can be made: \(error)")
        }
        run = Task { [client] in
            try? await client.runConnections()
        }
    }

    /// Takes no more calls, lets those in flight finish within the grace, and returns when nothing is left of it.
    func close(grace: Duration) async {
        client.beginGracefulShutdown()
        let cut = Task { [run] in
            try? await Task.sleep(for: grace)
            run.cancel()
        }
        await run.value
        cut.cancel()
    }

    /// Ends all calls at once.
    func cut() {
        run.cancel()
    }

    static func options(timeout: Duration?) -> CallOptions {
        var options = CallOptions.defaults
        options.timeout = timeout
        // The transport bounds answers by the request's limit; both are the same here.
        options.maxRequestMessageBytes = JSONCoding.maximumBytes + 1024
        options.maxResponseMessageBytes = JSONCoding.maximumBytes + 1024
        return options
    }
}
