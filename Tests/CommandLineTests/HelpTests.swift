// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Testing

@testable import raystore

@Suite struct HelpTests {
    @Test(arguments: ["start", "stop", "status", "put", "get", "rm", "list", "memory", "demo"])
    func everyCommandHelpsWithAnExample(command: String) async throws {
        let help = try await Tool.run([command, "--help"])
        #expect(help.status == 0)
        #expect(help.errors == "")
        #expect(help.text.contains("OVERVIEW: "))
        #expect(help.text.contains("\n  raystore \(command)"), "an example to type")
        #expect(help.text.contains("--json"))
    }

    @Test func theToolHelpsWithoutArguments() async throws {
        let help = try await Tool.run([])
        #expect(help.status == 0)
        #expect(help.text.contains("raystore start --head"))
    }

    @Test func theVersionIsTheLibrarys() async throws {
        let version = try await Tool.run(["--version"])
        #expect(version.status == 0)
        #expect(version.line.wholeMatch(of: /raystore [0-9]+\.[0-9]+\.[0-9]+.*/) != nil, "\(version.text)")
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func shellsGetTheirCompletions(shell: String) async throws {
        let script = try await Tool.run(["--generate-completion-script", shell])
        #expect(script.status == 0)
        #expect(script.text.contains("raystore"))
        #expect(script.text.contains("state-dir"))
    }
}

@Suite struct ArgumentTests {
    @Test(arguments: [
        ("4096", 4096), ("1k", 1024), ("512M", 512 << 20), ("512MiB", 512 << 20), ("2GiB", 2 << 30), ("2gb", 2_000_000_000),
        ("1.5GiB", 3 << 29), (" 7 MB ", 7_000_000), ("0", 0), ("1TiB", 1 << 40), ("3 bytes", 3),
    ])
    func sizesAreRead(text: String, bytes: Int) {
        #expect(ByteSize(text)?.bytes == bytes)
    }

    @Test(arguments: ["", "GiB", "-1", "1.", "1..5", "5 parsecs", "0x10", "1e9", "99999999TiB", "١MiB", "inf", "nan"])
    func whatIsNoSizeIsRefused(text: String) {
        #expect(ByteSize(text) == nil)
    }

    @Test(arguments: [("/a/b", "/a/b"), ("-", "-"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''"), ("$HOME", "'$HOME'")])
    func wordsAreQuotedForAShell(word: String, quoted: String) {
        #expect(Shell.quoted(word) == quoted)
    }

    @Test(arguments: [("off", 0), ("0", 0), ("64MiB", 64 << 20)])
    func prefaultIsASizeOrOff(text: String, bytes: Int) throws {
        let command = try #require(try RayStoreCommand.parseAsRoot(["start", "--head", "--prefault", text]) as? StartCommand)
        #expect(command.prefault?.bytes == bytes)
        #expect(throws: (any Error).self) { try RayStoreCommand.parseAsRoot(["start", "--head", "--prefault", "on"]) }
    }

    @Test func aStartedNodeCanBeStartedAgainByItsArguments() throws {
        let setup = NodeSetup(
            role: .head, stateDirectory: StateDirectory("/x y"), keyFile: "/k", memory: ByteSize(bytes: 5 << 20),
            prefault: ByteSize(bytes: 3 << 20), port: 7, bulkPort: 8, advertisedBulkPort: 9, host: "10.0.0.1",
            sumsAhead: false,
            disk: DiskSetup(reserve: ByteSize(bytes: 4 << 20), watermarkPercent: 87.5, movesFiles: true),
            quotas: QuotaSetup(client: ByteSize(bytes: 1 << 20), job: ByteSize(bytes: 2 << 20)))
        let command = try #require(try RayStoreCommand.parseAsRoot(setup.arguments) as? StartCommand)
        #expect(command.head && command.block)
        #expect(command.stateDir == "/x y")
        #expect(command.memory?.bytes == 5 << 20)
        #expect(command.prefault?.bytes == 3 << 20)
        #expect(!command.sumsAhead)
        #expect(command.disk.limits.reserve?.bytes == 4 << 20)
        #expect(command.disk.limits.watermarkPercent == 87.5 && command.disk.limits.movesFiles)
        #expect(command.quotas.clientQuota?.bytes == 1 << 20 && command.quotas.jobQuota?.bytes == 2 << 20)
        #expect(command.port == 7 && command.bulkPort == 8 && command.advertiseBulkPort == 9 && command.host == "10.0.0.1")
    }
}
