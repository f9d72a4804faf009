// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// `raystore serve` in a folder that goes with the test, as a process of its own.
final class ServingTool {
    /// Where the commands of the test run; what is served lies in `served`, the key in `key`.
    let directory: String
    let process: SpawnedProcess
    private(set) var address = ""

    private init(_ options: [String]) throws {
        directory = temporaryFolder() + "/rsct-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(
            atPath: directory + "/served/inner", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        for name in ["log", "out"] { _ = FileManager.default.createFile(atPath: "\(directory)/\(name)", contents: nil) }
        process = try Tool.start(
            ["serve", "served", "--make-key", "key"] + options, in: directory,
            output: FileHandle(forWritingAtPath: directory + "/out"), errors: FileHandle(forWritingAtPath: directory + "/log"))
    }

    static func with(_ options: String..., body: (ServingTool) async throws -> Void) async throws {
        let server = try ServingTool(options)
        let outcome: Result<Void, any Error>
        do {
            try await Tool.eventually("it says where it serves") { try server.text("out").hasSuffix("\n") }
            let line = try server.text("out")
            let match = try #require(line.firstMatch(of: /^Serving (\S+) at (127\.0\.0\.1:[0-9]+), key file (\S+)\n$/), "\(line)")
            #expect(match.1 == "\(server.directory)/served" && match.3 == "\(server.directory)/key")
            server.address = String(match.2)
            outcome = .success(try await body(server))
        } catch {
            outcome = .failure(error)
        }
        server.process.signal(SIGTERM)
        await Tool.end(of: server.process)
        #expect(server.process.terminationStatus == 0, "SIGTERM ends it in order")
        try? FileManager.default.removeItem(atPath: server.directory)
        try outcome.get()
    }

    func text(_ name: String) throws -> String {
        try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)
    }

    func fetch(_ path: String, _ more: String..., key: String = "key") async throws -> Tool.Outcome {
        try await Tool.run(["fetch", "\(address)/\(path)", "--key-file", key] + more, in: directory)
    }

    func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    }

    /// Only what was there before the first fetch, and these.
    func expectOnly(_ names: String..., sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(try self.names() == (["key", "log", "out", "served"] + names).sorted(), sourceLocation: sourceLocation)
    }

    func serve(_ name: String, _ bytes: Data) throws {
        try bytes.write(to: URL(fileURLWithPath: "\(directory)/served/\(name)"))
    }

    func serveNoise(_ name: String, mebibytes: Int) throws {
        let noise = try #require(FileHandle(forReadingAtPath: "/dev/urandom"))
        let path = "\(directory)/served/\(name)"
        try #require(FileManager.default.createFile(atPath: path, contents: nil))
        let file = try #require(FileHandle(forWritingAtPath: path))
        for _ in 0..<mebibytes { try file.write(contentsOf: try #require(try noise.read(upToCount: 1 << 20))) }
        try file.close()
    }

    func isSame(_ name: String, as served: String) -> Bool {
        FileManager.default.contentsEqual(atPath: "\(directory)/\(name)", andPath: "\(directory)/served/\(served)")
    }

    /// Kills a fetch in its middle. It is tried again when the fetch was quicker.
    func killFetch(of name: String) async throws {
        let journal = "\(directory)/.\(name).raystore-part.chunks"
        for _ in 0..<20 {
            let fetch = try Tool.start(["fetch", "\(address)/\(name)", "--key-file", "key"], in: directory)
            // Some chunks are recorded: eight bytes each behind a header of 80, room for all of them from the start.
            while fetch.isRunning,
                !((try? Data(contentsOf: URL(fileURLWithPath: journal)))?.dropFirst(80).contains { $0 != 0 } ?? false)
            {
                try await Task.sleep(for: .milliseconds(1))
            }
            fetch.signal(SIGKILL)
            await Tool.end(of: fetch)
            if fetch.terminationStatus == SIGKILL, FileManager.default.fileExists(atPath: journal) { return }
            try FileManager.default.removeItem(atPath: "\(directory)/\(name)")
        }
        Issue.record("no fetch could be killed in its middle")
    }
}
