// SPDX-License-Identifier: Apache-2.0
internal import Foundation
package import RayStore

/// Real nodes: processes of the `raystore` program on loopback, each with its own state directory, ended with the test. A test run that is
/// killed takes them along: they end when the pipe to their standard input does.
package final class TestCluster: @unchecked Sendable {
    package struct Member {
        package let process: TestProcess
        package let state: String
        fileprivate let arguments: [String]
        package var socket: String { state + "/node.sock" }
    }

    package let directory: String
    package let controlPort: UInt16
    package private(set) var members: [Member] = []
    private let network: TestNetwork?

    package var keyFile: String { members[0].state + "/cluster.key" }

    /// - Parameter network: each node has a place of its own there; else all are on loopback.
    package init(nodes count: Int, memory: String = "256MiB", network: TestNetwork? = nil) async throws {
        self.network = network
        directory = temporaryFolder() + "/raystore-it-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        controlPort = try freePort()
        do {
            for _ in 0..<count { try await addNode(memory: memory) }
        } catch {
            end()
            throw error
        }
    }

    /// Starts one more node, the first as the head, and returns when it lets clients in.
    @discardableResult
    package func addNode(memory: String = "256MiB", port: UInt16? = nil, extra: [String] = []) async throws -> Member {
        let state = "\(directory)/node\(members.count)"
        var arguments = ["start", "--block", "--leash", "--state-dir", state, "--memory", memory] + extra
        if members.isEmpty {
            arguments += ["--head", "--port", "\(port ?? controlPort)"]
        } else {
            arguments += ["--address", "\(network?.host(0) ?? "127.0.0.1"):\(controlPort)", "--key-file", keyFile]
        }
        if let network { arguments += ["--host", network.host(members.count)] }
        members.append(try launch(arguments, state: state, at: members.count))
        return try await awaitStart(of: members.count - 1)
    }

    /// Starts a node again that has ended, with the same state directory.
    @discardableResult
    package func restart(_ index: Int) async throws -> Member {
        let earlier = members[index]
        earlier.process.end()
        members[index] = try launch(earlier.arguments, state: earlier.state, at: index)
        return try await awaitStart(of: index)
    }

    private func launch(_ arguments: [String], state: String, at place: Int) throws -> Member {
        // After what an earlier life of the node said: that is wanted when a test of restarts fails.
        if !FileManager.default.fileExists(atPath: state + ".log") {
            _ = FileManager.default.createFile(atPath: state + ".log", contents: nil)
        }
        let log = try FileHandle(forWritingTo: URL(fileURLWithPath: state + ".log"))
        try log.seekToEnd()
        return Member(
            process: try TestProcess("raystore", arguments, errors: log, wrapper: network?.wrapper(place) ?? []), state: state,
            arguments: arguments)
    }

    private func awaitStart(of index: Int) async throws -> Member {
        let (member, state) = (members[index], members[index].state)
        let isUp = await eventually(within: .seconds(60)) {
            guard member.process.isRunning else { return true }
            guard let session = try? await Session.connect(socket: member.socket, timeout: .seconds(1)) else { return false }
            await session.close()
            return true
        }
        guard isUp, member.process.isRunning else {
            throw SetUpFailure("a node did not start: " + ((try? String(contentsOfFile: state + ".log", encoding: .utf8)) ?? ""))
        }
        return member
    }

    package func session(_ index: Int, namespace: String? = nil, job: JobID? = nil) async throws -> Session {
        try await Session.connect(socket: members[index].socket, job: job, namespace: namespace)
    }

    /// Files of objects under any node's state directory, partial ones included.
    package func files() -> [String] {
        let all = FileManager.default.enumerator(atPath: directory)?.compactMap { $0 as? String } ?? []
        return all.filter { $0.contains("/jobs/") || $0.contains("/partial/") }.filter { path in
            var isDirectory = ObjCBool(false)
            return FileManager.default.fileExists(atPath: directory + "/" + path, isDirectory: &isDirectory)
                && !isDirectory.boolValue
        }
    }

    /// Of each node that crashed: with what, and the end of its log. A test that expects an error may be content with what a crash looks like from outside.
    package func crashes() -> [String] {
        members.enumerated().compactMap { place, member in
            guard let signal = member.process.crash else { return nil }
            let log = (try? String(contentsOfFile: member.state + ".log", encoding: .utf8)) ?? ""
            return "node \(place) crashed with signal \(signal); the end of its log: \(log.suffix(2000))"
        }
    }

    package func end() {
        for member in members { member.process.end() }
        try? FileManager.default.removeItem(atPath: directory)
    }
}

/// Runs a test against real nodes and ends them, whatever happens.
package func withCluster(_ count: Int, memory: String = "256MiB", _ body: (TestCluster) async throws -> Void) async throws {
    let cluster = try await TestCluster(nodes: count, memory: memory)
    defer { cluster.end() }
    do {
        try await body(cluster)
    } catch {
        for crash in cluster.crashes() { print(crash) }
        throw error
    }
    if let crash = cluster.crashes().first { throw SetUpFailure(crash) }
}

/// A port that nothing listens on.
package func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw SetUpFailure("no socket") }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
        }
    }
    guard status == 0 else { throw SetUpFailure("no free port") }
    return UInt16(bigEndian: address.sin_port)
}
