// SPDX-License-Identifier: Apache-2.0
internal import Glibc
internal import Synchronization

/// A TCP proxy on loopback that passes bytes both ways and flips bits of what the server sends, at given places of the first so many
/// connections; or cuts every connection after so many bytes, and takes no other until it is mended. A thread for each direction; `stop`
/// ends them all.
package final class FlippingProxy: @unchecked Sendable {
    package let port: UInt16
    private let target: UInt16
    private let flipAt: Int
    private let flipEvery: Int?
    private let listener: Int32
    /// Connections that are still to be harmed; sockets that are open.
    private let state: Mutex<State>

    private struct State {
        var left: Int
        var cutAt: Int?
        var sockets: Set<Int32> = []
        var flips = 0
        var passed = 0
        var refused = 0
        var isStopped = false

        var isCut: Bool { cutAt.map { passed >= $0 } ?? false }
    }

    /// - Parameters:
    ///   - flipAt: the byte of the server's stream whose lowest bit is flipped.
    ///   - flipEvery: so many bytes later another one, and so on; nil for one flip a connection.
    ///   - connections: how many connections are harmed; later ones pass unharmed.
    ///   - cutAt: the byte of the server's stream, of all connections together, at which all of them are cut.
    package init(to target: UInt16, flipAt: Int = 0, flipEvery: Int? = nil, connections: Int = 0, cutAt: Int? = nil) throws {
        self.target = target
        self.flipAt = flipAt
        self.flipEvery = flipEvery
        state = Mutex(State(left: connections, cutAt: cutAt))
        let (listener, port) = try Self.listen()
        self.listener = listener
        self.port = port
        Self.thread { self.acceptAll() }
    }

    private static func listen() throws -> (listener: Int32, port: UInt16) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withLoopback(port: 0) { bind(listener, $0, length) == 0 && Glibc.listen(listener, 64) == 0 }
        var bound = sockaddr_in()
        let isNamed = withUnsafeMutablePointer(to: &bound) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) == 0 }
        }
        guard listener >= 0, isListening, isNamed else { throw SetUpFailure("the proxy cannot listen") }
        return (listener, UInt16(bigEndian: bound.sin_port))
    }

    /// How many bits were really flipped.
    package var flipCount: Int { state.withLock { $0.flips } }

    /// What the server sent through it.
    package var passedCount: Int { state.withLock { $0.passed } }

    /// Connections that came while it was cut.
    package var refusedCount: Int { state.withLock { $0.refused } }

    /// Takes connections again after the cut.
    package func mend() {
        state.withLock { $0.cutAt = nil }
    }

    package func stop() {
        let open = state.withLock { state in
            state.isStopped = true
            return state.sockets
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for socket in open { shutdown(socket, Int32(SHUT_RDWR)) }
    }

    private func acceptAll() {
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { break }
            let isRefused = state.withLock { state in
                state.refused += state.isCut ? 1 : 0
                return state.isCut
            }
            if isRefused {
                close(client)
                continue
            }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            let isConnected = Self.withLoopback(port: target) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
            guard isConnected else {
                close(client)
                close(server)
                continue
            }
            let isHarmed = state.withLock { state in
                state.sockets.formUnion([client, server])
                state.left -= 1
                return state.left >= 0
            }
            let ends = Atomic<Int>(0)
            let pair = Pair(client: client, server: server, ends: ends)
            Self.thread { self.pass(from: client, to: server, flipAt: nil, counts: false, pair) }
            Self.thread { self.pass(from: server, to: client, flipAt: isHarmed ? self.flipAt : nil, counts: true, pair) }
        }
        close(listener)
    }

    /// Two sockets that are closed when both directions have ended.
    private final class Pair: Sendable {
        let client: Int32
        let server: Int32
        private let ends: Atomic<Int>

        init(client: Int32, server: Int32, ends: consuming Atomic<Int>) {
            self.client = client
            self.server = server
            self.ends = ends
        }

        func end() -> Bool {
            shutdown(client, Int32(SHUT_RDWR))
            shutdown(server, Int32(SHUT_RDWR))
            return ends.add(1, ordering: .acquiringAndReleasing).newValue == 2
        }
    }

    private func pass(from: Int32, to: Int32, flipAt: Int?, counts: Bool, _ pair: Pair) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var passed = 0
        var next = flipAt
        while true {
            let count = recv(from, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            while let flip = next, flip < passed + count {
                buffer[flip - passed] ^= 1
                state.withLock { $0.flips += 1 }
                next = flipEvery.map { flip + $0 }
            }
            passed += count
            let isCut = state.withLock { state in
                if counts { state.passed += count }
                return state.isCut
            }
            guard !isCut else { break }
            var sent = 0
            while sent < count {
                let step = buffer.withUnsafeBytes { send(to, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL)) }
                guard step > 0 else { break }
                sent += step
            }
            guard sent == count else { break }
        }
        if pair.end() {
            state.withLock { state in
                state.sockets.subtract([pair.client, pair.server])
                close(pair.client)
                close(pair.server)
            }
        }
    }

    private static func withLoopback<Result>(port: UInt16, _ body: (UnsafePointer<sockaddr>) -> Result) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
    }

    private static func thread(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Box(body)).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, context)
        pthread_detach(thread)
    }
}
