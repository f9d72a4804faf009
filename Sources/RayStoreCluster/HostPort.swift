// SPDX-License-Identifier: Apache-2.0
internal import NIOCore
public import RayStore

/// An address that control messages go to, written as HOST:PORT; an IPv6 address stands in brackets.
public struct HostPort: Hashable, Sendable, CustomStringConvertible {
    /// A name or an IP address, without brackets.
    public let host: String
    public let port: UInt16

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`.
    ///
    /// - Throws: `invalidArgument`, quoting the text and saying what is wrong.
    public init(_ text: String) throws(RayStoreError) {
        func bad(_ reason: String) -> RayStoreError {
            RayStoreError(
                .invalidArgument, "'\(text)' is not an address: \(reason); write HOST:PORT, such as 10.0.0.5:6380 or [::1]:6380")
        }
        guard let colon = text.lastIndex(of: ":") else { throw bad("it has no port") }
        var host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { throw bad("a bracket is not closed before the port") }
            host = host.dropFirst().dropLast()
            guard IPAddress(String(host)) == .v6 else { throw bad("what stands in brackets is not an IPv6 address") }
        } else if host.contains(":") {
            throw bad("an IPv6 address needs brackets")
        }
        guard !host.isEmpty else { throw bad("it has no host") }
        guard !host.contains(where: { $0.isWhitespace || "/[]@".contains($0) }) else { throw bad("'\(host)' is not a host") }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            throw bad("'\(digits)' is not a port number")
        }
        guard let port = UInt16(digits), port > 0 else { throw bad("a port is a number from 1 to 65535") }
        self.init(host: String(host), port: port)
    }

    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// Which kind of IP address a text is.
enum IPAddress {
    case v4
    case v6

    init?(_ text: String) {
        switch (try? SocketAddress(ipAddress: text, port: 0))?.protocol {
        case .inet: self = .v4
        case .inet6: self = .v6
        default: return nil
        }
    }
}
