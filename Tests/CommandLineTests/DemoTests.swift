// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import raystore

@Suite(.serialized) struct DemoTests {
    /// A folder of the test's own for the demo's directory, so that what is left in it can be seen.
    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = temporaryFolder() + "/rsdt-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    /// The demo's own: other tests have some meanwhile.
    private func namespaces() -> Set<String> {
        Set(
            ((try? FileManager.default.contentsOfDirectory(atPath: "/run/netns")) ?? []).filter { $0.hasPrefix("raystore-demo-") }
        )
    }

    @Test func theDemoPassesAndLeavesNothing() async throws {
        try await withFolder { folder in
            let before = namespaces()
            let outcome = try await Tool.run(
                ["demo", "--size", "9MiB", "--array-size", "5MiB"], in: folder, environment: ["TMPDIR": folder])
            #expect(outcome.status == 0, "\(outcome.errors)\(outcome.text)")
            #expect(outcome.text.contains("Every byte is the same."))
            #expect(outcome.text.contains("both nodes hold nothing"))
            #expect(outcome.text.contains("The demo has passed."))
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
            #expect(namespaces().subtracting(before) == [])
        }
    }

    @Test func aFileOfOnesOwnIsSentAndKept() async throws {
        try await withFolder { folder in
            let bytes = Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 % 251) })
            try bytes.write(to: URL(fileURLWithPath: folder + "/my file.bin"))
            let outcome = try await Tool.run(
                ["demo", "--file", "my file.bin", "--array-size", "1MiB", "--json"], in: folder, environment: ["TMPDIR": folder])
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(outcome.errors == "")
            let report = try JSONDecoder().decode(DemoReport.self, from: outcome.output)
            #expect(report.isVerified)
            let get = try #require(report.steps.first { $0.what == "get the file on B" })
            #expect(get.bytes == bytes.count)
            #expect(get.copies == ["A", "B"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["my file.bin"])
            #expect(try Data(contentsOf: URL(fileURLWithPath: folder + "/my file.bin")) == bytes)
        }
    }

    /// Ctrl-C in the middle: the nodes, the directory and the namespaces go all the same.
    @Test func anInterruptedDemoLeavesNothing() async throws {
        try await withFolder { folder in
            let before = namespaces()
            let process = try Tool.start(
                ["demo", "--size", "4GiB", "--array-size", "5MiB"], in: folder, environment: ["TMPDIR": folder])
            defer { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
            func locks() -> [ProcessIdentity] {
                let room = (try? FileManager.default.contentsOfDirectory(atPath: folder))?.first ?? ""
                return ["A", "B"].compactMap { StateDirectory("\(folder)/\(room)/\($0)").holder }
            }
            try await Tool.eventually("the nodes do not start") { locks().count == 2 || !process.isRunning }
            let nodes = locks()
            #expect(nodes.count == 2)
            kill(process.processIdentifier, SIGINT)
            await Tool.end(of: process)
            #expect(process.terminationStatus == 130)
            #expect(nodes.allSatisfy { !$0.isRunning })
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
            #expect(namespaces().subtracting(before) == [])
        }
    }

    @Test func badInputIsOneLine() async throws {
        try await Tool.run(["demo", "--file", "/no/such/file"]).expectOneLine("/no/such/file")
        try await Tool.run(["demo", "--file", "/tmp"]).expectOneLine("/tmp", "directory")
        try await Tool.run(["demo", "--size", "much"]).expectOneLine("'much'", status: 64)
        try await Tool.run(["demo", "--size", "900000GiB"]).expectOneLine("2.6 PiB", "--size")
    }

    @Test(arguments: [0, 1, 1023, 1024, 5000, 5 << 20])
    func theTrainingFileIsTheSameEveryTimeAndAsLongAsAsked(size: Int) async throws {
        try await withFolder { folder in
            try TrainingFile.make(at: folder + "/a", size: size, isCancelled: CancelFlag())
            try TrainingFile.make(at: folder + "/b", size: size, isCancelled: CancelFlag())
            let bytes = try Data(contentsOf: URL(fileURLWithPath: folder + "/a"))
            #expect(bytes.count == size)
            #expect(try FileComparison.firstDifference(folder + "/a", folder + "/b", isCancelled: CancelFlag()) == nil)
            for line in bytes.split(separator: 0x0A) where !line.allSatisfy({ $0 == 0x20 }) {
                _ = try JSONDecoder().decode(TrainingFile.Example.self, from: Data(line))
            }
        }
    }

    @Test func filesThatDifferAreToldApart() async throws {
        try await withFolder { folder in
            let long = Data(count: (2 << 20) + 5)
            var other = long
            other[(2 << 20) + 4] = 1
            let files: [(String, Data)] = [("a", long), ("b", other), ("c", long.dropLast()), ("e", Data())]
            for (name, bytes) in files { try bytes.write(to: URL(fileURLWithPath: folder + "/" + name)) }
            func compare(_ a: String, _ b: String) throws -> Int? {
                try FileComparison.firstDifference(folder + "/" + a, folder + "/" + b, isCancelled: CancelFlag())
            }
            #expect(try compare("a", "a") == nil)
            #expect(try compare("e", "e") == nil)
            #expect(try compare("a", "b") == 2 << 20)
            #expect(try compare("a", "c") == 2 << 20)
            #expect(try compare("c", "a") == 2 << 20)
            #expect(try compare("e", "a") == 0)
        }
    }
}
