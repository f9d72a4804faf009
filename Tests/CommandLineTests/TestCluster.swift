// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import raystore

/// Real nodes, started and stopped by the tool, in a directory that goes with the test.
final class TestCluster {
    struct Member {
        let stateDirectory: String
        let address: String
        let keyFile: String
        let process: ProcessIdentity
        let socket: String
    }

    /// Where the commands of the test run.
    let directory: String
    private(set) var members: [Member] = []

    private init() throws {
        // Short: a Unix socket's path has at most 107 bytes.
        directory = temporaryFolder() + "/rsct-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    }

    /// Runs a test with so many nodes, the first of them the head; kills what is left of them afterwards, whatever happened.
    static func with(_ count: Int, memory: String = "32MiB", _ body: (TestCluster) async throws -> Void) async throws {
        let cluster = try TestCluster()
        let outcome: Result<Void, any Error>
        do {
            for _ in 0..<count { try await cluster.addNode(memory: memory) }
            outcome = .success(try await body(cluster))
        } catch {
            outcome = .failure(error)
        }
        await cluster.end()
        try outcome.get()
    }

    @discardableResult
    func addNode(
        memory: String = "32MiB", with more: [String] = [], environment: [String: String] = [:]
    ) async throws -> Member {
        let name = "n\(members.count)"
        var arguments = ["start", "--json", "--state-dir", name, "--memory", memory, "--port", "0"] + more
        if let head = members.first {
            arguments += ["--address", head.address, "--key-file", head.keyFile]
        } else {
            arguments += ["--head"]
        }
        let outcome = try await Tool.run(arguments, in: directory, environment: environment)
        try #require(outcome.status == 0, "\(outcome.errors)")
        let launch = try JSONDecoder().decode(NodeLaunch.self, from: outcome.output)
        let member = Member(
            stateDirectory: launch.stateDirectory, address: launch.address, keyFile: launch.keyFile,
            process: try #require(ProcessIdentity(of: launch.pid)), socket: launch.socket)
        members.append(member)
        return member
    }

    /// Runs the tool for a node.
    func run(_ arguments: String..., on node: Int = 0) async throws -> Tool.Outcome {
        try await Tool.run(arguments + ["--state-dir", members[node].stateDirectory], in: directory)
    }

    /// Makes a file in the directory of the commands.
    @discardableResult
    func makeFile(_ name: String, _ bytes: Data) throws -> String {
        let path = directory + "/" + name
        try bytes.write(to: URL(fileURLWithPath: path))
        return path
    }

    func read(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name))
    }

    func names(in folder: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory + "/" + folder).sorted()
    }

    private func end() async {
        for member in members where member.process.isRunning {
            kill(member.process.pid, SIGKILL)
            _ = await member.process.waitUntilGone(for: .seconds(10))
        }
        try? FileManager.default.removeItem(atPath: directory)
    }
}
