// SPDX-License-Identifier: Apache-2.0
internal import Glibc

/// A TCP connection to loopback of somebody who need not speak any protocol. Its calls block, none for longer than its limit.
package final class RawConnection: Sendable {
    private let descriptor: Int32

    package init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isConnected else {
            close(descriptor)
            throw SetUpFailure("nothing listens on port \(port)")
        }
    }

    deinit { close(descriptor) }

    /// Whether all of it was taken; the other end may have hung up.
    @discardableResult
    package func send(_ bytes: [UInt8]) -> Bool {
        Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// Whatever has come, at least a byte; nil when nothing comes within the time, empty when the other end has closed.
    package func receive(within limit: Duration = .seconds(20)) -> [UInt8]? {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, Int32(limit.components.seconds * 1000)) == 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return Array(bytes.prefix(max(count, 0)))
    }

    /// Everything until the other end closes; nil when it has not within the time after the last bytes.
    package func receiveAll(within limit: Duration = .seconds(20)) -> [UInt8]? {
        var all: [UInt8] = []
        while let bytes = receive(within: limit) {
            if bytes.isEmpty { return all }
            all += bytes
        }
        return nil
    }
}
