// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Runs the tool that was built beside the tests, as a process of its own.
enum Tool {
    struct Outcome: Sendable {
        let status: Int32
        let output: Data
        let errors: String

        var text: String { String(decoding: output, as: UTF8.self) }
        var line: String { text.trimmingCharacters(in: .newlines) }

        func json() throws -> [String: Any] {
            try #require(try JSONSerialization.jsonObject(with: output) as? [String: Any])
        }

        /// Exactly one line on standard error, with the tool's name; nothing on standard output.
        func expectOneLine(
            _ parts: String..., status: Int32 = 1, sourceLocation: SourceLocation = #_sourceLocation
        ) {
            #expect(self.status == status, "\(errors)", sourceLocation: sourceLocation)
            #expect(text == "", sourceLocation: sourceLocation)
            #expect(errors.hasPrefix("raystore: "), "\(errors)", sourceLocation: sourceLocation)
            #expect(errors.hasSuffix("\n"), sourceLocation: sourceLocation)
            #expect(errors.split(separator: "\n").count == 1, "\(errors)", sourceLocation: sourceLocation)
            for part in parts { #expect(errors.contains(part), "\(errors)", sourceLocation: sourceLocation) }
        }
    }

    static let path: String = {
        let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("raystore").path
    }()

    /// Runs it to its end. Output goes through files, so that no full pipe can hold anybody up.
    static func run(
        _ arguments: [String], in directory: String = NSTemporaryDirectory(), environment: [String: String] = [:]
    ) async throws -> Outcome {
        let name = NSTemporaryDirectory() + "/raystore-tool-" + UUID().uuidString
        defer { for end in ["out", "err"] { try? FileManager.default.removeItem(atPath: "\(name).\(end)") } }
        let files = try ["out", "err"].map { end in
            try #require(FileManager.default.createFile(atPath: "\(name).\(end)", contents: nil))
            return try #require(FileHandle(forWritingAtPath: "\(name).\(end)"))
        }
        let process = try start(arguments, in: directory, environment: environment, output: files[0], errors: files[1])
        await end(of: process)
        return Outcome(
            status: process.terminationStatus, output: try Data(contentsOf: URL(fileURLWithPath: name + ".out")),
            errors: try String(contentsOfFile: name + ".err", encoding: .utf8))
    }

    static func start(
        _ arguments: [String], in directory: String = NSTemporaryDirectory(), environment: [String: String] = [:],
        input: Int32? = nil, output: FileHandle? = nil, errors: FileHandle? = nil
    ) throws -> SpawnedProcess {
        var variables = ProcessInfo.processInfo.environment
        // Nothing of the developer's own node may be touched by mistake.
        variables["RAYSTORE_SOCKET"] = nil
        variables["XDG_RUNTIME_DIR"] = directory
        let isStart = arguments.first == "start"
        return try SpawnedProcess(
            path, arguments + (isStart ? ["--leash"] : []), environment: variables.merging(environment) { $1 },
            directory: directory, input: input ?? (isStart ? leash.get().reading : nil), output: output?.fileDescriptor,
            errors: errors?.fileDescriptor)
    }

    /// The writing end is held until this process ends, however that happens: every node that `start` leaves behind ends with it.
    private static let leash = Result { try SpawnedProcess.pipe() }

    /// Waits without blocking a thread of the pool; what hangs is killed, and fails its test by its status.
    static func end(of process: SpawnedProcess) async {
        let deadline = ContinuousClock.now + .seconds(60)
        while process.isRunning {
            if ContinuousClock.now > deadline { process.signal(SIGKILL) }
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Looks again and again until it is so; fails the test after some seconds.
    static func eventually(
        _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !condition() {
            guard ContinuousClock.now < deadline else {
                Issue.record(what, sourceLocation: sourceLocation)
                return
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
