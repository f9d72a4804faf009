// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

@testable import raystore

@Suite(.serialized) struct ServeTests {
    @Test(arguments: [
        (0, 1), (4 << 20, 4 << 20), (4_194_303, 2), (0, 12 << 20), (13_000_000, 0), (13_000_000, 1 << 40), (14 << 20, 5),
    ])
    func aPartIsFetchedAlone(offset: Int, size: Int) async throws {
        try await ServingTool.with { server in
            let whole = Data(pattern((13 << 20) + 17))
            try server.serve("a.bin", whole)
            let outcome = try await server.fetch("a.bin", "--range", size == 0 ? "\(offset):" : "\(offset):\(size)", "-o", "part")
            #expect(outcome.status == 0, "\(outcome.errors)")
            let end = size == 0 ? whole.count : min(offset + size, whole.count)
            let part = try Data(contentsOf: URL(fileURLWithPath: server.directory + "/part"))
            #expect(part == whole[min(offset, whole.count)..<max(end, min(offset, whole.count))])
            try server.expectOnly("part")
        }
    }

    @Test(arguments: ["7", "x:1", "1:0", "-1:5", "1:2:3"]) func aRangeThatIsNoneIsSaid(text: String) async throws {
        try await ServingTool.with { server in
            let outcome = try await server.fetch("a.bin", "--range=\(text)")
            #expect(outcome.status == 64, "\(outcome.errors)")
            #expect(outcome.errors.contains("offset:size"), "\(outcome.errors)")
            try server.expectOnly()
        }
    }

    @Test(arguments: [0, 1, 100_000, 5_000_000])
    func aServedFileIsFetched(size: Int) async throws {
        try await ServingTool.with { server in
            var generator = SystemRandomNumberGenerator()
            let bytes = Data((0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) })
            try server.serve("inner/a file ☂.bin", bytes)
            let fetched = try await server.fetch("inner/a file ☂.bin")
            #expect(fetched.status == 0 && fetched.text == "", "\(fetched.errors)")
            #expect(server.isSame("a file ☂.bin", as: "inner/a file ☂.bin"))
            let mode = try FileManager.default.attributesOfItem(atPath: server.directory + "/a file ☂.bin")[.posixPermissions]
            let mask = umask(0)
            umask(mask)
            #expect(mode as? Int == Int(0o666 & ~mask))
            try await Tool.eventually("the fetch is in the log") { try server.text("log").contains("☂.bin: ") }
            let log = try server.text("log")
            #expect(
                log.firstMatch(of: /^127\.0\.0\.1:[0-9]+ inner\/a file ☂\.bin: .* sent, wire .*, in .* s\n$/) != nil, "\(log)")
            try server.expectOnly("a file ☂.bin")
        }
    }

    @Test func aFetchIsDoneAsItsOptionsSay() async throws {
        try await ServingTool.with { server in
            try server.serve("f", Data(repeating: 7, count: 3_000_000))
            let options = [
                "--chunk-size", "64KiB", "--connections", "1", "--window", "1MiB", "--rate-limit", "1GiB", "--urgency", "wait",
            ]
            for (codec, name) in [("zstd:-2", "zstd"), ("lz4", "lz4"), ("none", "raw")] {
                let answer = try await Tool.run(
                    ["fetch", "\(server.address)/f", "--key-file", "key", "--force", "--json", "--codec", codec] + options,
                    in: server.directory)
                #expect(answer.status == 0, "\(answer.errors)")
                let codecs = try #require(try answer.json()["codecs"] as? String)
                #expect(codecs.contains(name), "\(codecs)")
                #expect(server.isSame("f", as: "f"))
            }
            for (option, value) in [
                ("--codec", "zstd:10"), ("--codec", "zip"), ("--chunk-size", "3MiB"), ("--connections", "17"), ("--window", "0"),
                ("--rate-limit", "-1"), ("--urgency", "soon"),
            ] {
                let answer = try await server.fetch("f", "\(option)=\(value)", "-o", "g")
                #expect(answer.status == 64, "\(option) \(value)")
            }
            try server.expectOnly("f")
        }
    }

    @Test func limitsAreHandedToTheNodeThatRunsOn() throws {
        let caps = try CapsChoice.parse([
            "--send-rate-limit", "100MiB", "--receive-rate-limit", "1GB", "--class-rate-limit", "background=64KiB",
            "--class-rate-limit", "wait=2GiB", "--transfer-memory", "256MiB",
        ]).caps
        #expect(caps.send == .mebibytes(100) && caps.receive == .bytes(1_000_000_000))
        #expect(caps.urgency == [.background: .kibibytes(64), .wait: .gibibytes(2)] && caps.memory == .mebibytes(256))
        #expect(try CapsChoice.parse(caps.arguments).caps == caps)
        for wrong in [
            ["--send-rate-limit", "65535"], ["--receive-rate-limit", "x"], ["--class-rate-limit", "get"],
            ["--transfer-memory", "0"], ["--class-rate-limit", "soon=1GiB"], ["--class-rate-limit", "get=1"],
        ] {
            #expect(throws: (any Error).self) { try CapsChoice.parse(wrong) }
        }
    }

    @Test func theAnswerCanBeADocument() async throws {
        try await ServingTool.with { server in
            try server.serve("f", Data(repeating: 7, count: 300_000))
            let answer = try await server.fetch("f", "-o", "served/inner", "--json")
            #expect(answer.status == 0 && answer.errors == "")
            let document = try answer.json()
            #expect(document["path"] as? String == server.directory + "/served/inner/f")
            #expect(document["bytes"] as? Int == 300_000 && document["resumedBytes"] as? Int == 0)
            #expect(server.isSame("served/inner/f", as: "f"))
        }
    }

    @Test func aKilledFetchGoesOn() async throws {
        try await ServingTool.with { server in
            try server.serveNoise("big", mebibytes: 256)
            try await server.killFetch(of: "big")
            #expect(try server.names().contains("big") == false)
            let document = try await server.fetch("big", "--json").json()
            let resumed = try #require(document["resumedBytes"] as? Int)
            #expect(resumed > 0 && resumed % (4 << 20) == 0)
            #expect((document["wireBytes"] as? Int ?? 0) + resumed == 256 << 20)
            #expect(server.isSame("big", as: "big"))
            try server.expectOnly("big")
        }
    }

    @Test func aFetchMayBeginAnew() async throws {
        try await ServingTool.with { server in
            try server.serveNoise("big", mebibytes: 256)
            try await server.killFetch(of: "big")
            let document = try await server.fetch("big", "--json", "--no-resume").json()
            #expect(document["resumedBytes"] as? Int == 0 && document["wireBytes"] as? Int == 256 << 20)
            #expect(server.isSame("big", as: "big"))
            try server.expectOnly("big")
        }
    }

    @Test func aFetchThatLosesItsServerSaysThatItCanGoOn() async throws {
        try await ServingTool.with { server in
            try server.serveNoise("big", mebibytes: 256)
            try await server.killFetch(of: "big")
            // Nobody listens at port 1 of loopback; the path of what was fetched in part is the same.
            try await Tool.run(["fetch", "127.0.0.1:1/big", "--key-file", "key"], in: server.directory)
                .expectOneLine("127.0.0.1:1", "fetch again to go on")
            #expect(try server.names().contains(".big.raystore-part.chunks"))
        }
    }

    @Test func aFileThatChangedMeanwhileIsAnError() async throws {
        try await ServingTool.with { server in
            try server.serveNoise("big", mebibytes: 256)
            try await server.killFetch(of: "big")
            let file = try #require(FileHandle(forWritingAtPath: server.directory + "/served/big"))
            try file.write(contentsOf: Data("other".utf8))
            try file.close()
            try await server.fetch("big", "--json").expectOneLine("changed", "again")
            try server.expectOnly()
            #expect(try await server.fetch("big").status == 0)
            #expect(server.isSame("big", as: "big"))
        }
    }

    @Test func aWrongKeyIsRefused() async throws {
        try await ServingTool.with { server in
            try server.serve("f", Data("secret".utf8))
            try String(repeating: "ab", count: 32).write(toFile: server.directory + "/other", atomically: true, encoding: .utf8)
            chmod(server.directory + "/other", 0o600)
            try await server.fetch("f", "--json", key: "other").expectOneLine(server.address, "key")
            try await server.fetch("f", "--json", key: "none").expectOneLine(server.directory + "/none")
            try server.expectOnly("other")
            #expect(try server.text("log") == "")
        }
    }

    @Test(arguments: ["../key", "inner/../../key", "/etc/passwd", "out", "inner/up/key"])
    func whatLeadsOutIsRefused(path: String) async throws {
        try await ServingTool.with { server in
            let manager = FileManager.default
            try manager.createSymbolicLink(atPath: server.directory + "/served/out", withDestinationPath: "../key")
            try manager.createSymbolicLink(atPath: server.directory + "/served/inner/up", withDestinationPath: "../..")
            try await server.fetch(path, "-o", "got").expectOneLine(server.address, path, "leads out")
            try server.expectOnly()
            try await Tool.eventually("it is in the log") { try server.text("log").contains("not served") }
        }
    }

    @Test func whatIsNoFileIsNamed() async throws {
        try await ServingTool.with { server in
            try await server.fetch("missing").expectOneLine(server.address, "missing")
            try await server.fetch("inner").expectOneLine("inner is a directory")
            try await server.fetch("inner/").expectOneLine("names a directory", status: 64)
            try await server.fetch("").expectOneLine("names a directory", status: 64)
            #expect(mkfifo(server.directory + "/served/pipe", 0o600) == 0)
            try await server.fetch("pipe").expectOneLine("pipe", "regular file")
            try server.expectOnly()
        }
    }

    @Test func aFileThatIsThereIsReplacedOnlyByForce() async throws {
        try await ServingTool.with { server in
            try server.serve("f", Data("new".utf8))
            try Data("old".utf8).write(to: URL(fileURLWithPath: server.directory + "/f"))
            try await server.fetch("f").expectOneLine(server.directory + "/f", "--force")
            #expect(try server.text("f") == "old")
            #expect(try await server.fetch("f", "--force").status == 0)
            #expect(try server.text("f") == "new")
            try await server.fetch("f", "-o", "nowhere/f").expectOneLine(server.directory + "/nowhere")
            try server.expectOnly("f")
        }
    }

    @Test func badArgumentsAreOneLine() async throws {
        let directory = NSTemporaryDirectory()
        try await Tool.run(["fetch", "host/path"], in: directory).expectOneLine("'host'", "port", status: 64)
        try await Tool.run(["fetch", "10.0.0.1:7000"], in: directory).expectOneLine("HOST:PORT/PATH", status: 64)
        try await Tool.run(["fetch", "10.0.0.1:7000/f", "-o", "-"], in: directory).expectOneLine("-o -", status: 64)
        try await Tool.run(["serve", ".", "--key-file", "a", "--make-key", "b"], in: directory)
            .expectOneLine("--make-key", status: 64)
        let folder = temporaryFolder() + "/rsct-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await Tool.run(["serve", "nowhere", "--make-key", "key"], in: folder).expectOneLine("\(folder)/nowhere")
        try await Tool.run(["serve", ".", "--key-file", "key"], in: folder).expectOneLine("\(folder)/key")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [], "a key that served nothing is not kept")
    }

    @Test(arguments: ["serve", "fetch"])
    func bothHelpWithAnExample(command: String) async throws {
        let help = try await Tool.run([command, "--help"])
        #expect(help.status == 0 && help.text.contains("\n  raystore \(command)"))
    }
}
