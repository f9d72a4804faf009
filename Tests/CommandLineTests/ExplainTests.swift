// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

@testable import raystore

/// `--explain`: what a transfer is said to have chosen, and why, is what it did.
@Suite(.serialized) struct ExplainTests {
    /// Lines of JSON, which pack to about a third.
    private static func lines(mebibytes: Int) -> Data {
        var text = ""
        var number: UInt64 = 1
        while text.utf8.count < mebibytes << 20 {
            number = number &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            text += "{\"step\":\(number >> 44),\"loss\":0.\(number >> 50),\"tokens\":[1,2,\(number >> 52)]}\n"
        }
        return Data(text.utf8.prefix(mebibytes << 20))
    }

    private struct Document: Decodable {
        let codecs: String
        let explanation: TransferExplanation?
    }

    /// The one source of an explanation, after a look at what must add up.
    private func onlySource(_ explanation: TransferExplanation?, bytes: Int) throws -> TransferSource {
        let explanation = try #require(explanation)
        let source = try #require(explanation.sources.first)
        #expect(explanation.sources.count == 1)
        #expect(source.size.bytes == bytes && source.choices.reduce(0) { $0 + $1.size.bytes } == bytes)
        #expect(source.chunks == source.choices.reduce(0) { $0 + $1.chunks })
        #expect(source.wire.bytes == source.choices.reduce(0) { $0 + $1.wire.bytes } && source.wire <= source.size)
        #expect(source.host == "127.0.0.1" && source.port > 0)
        return source
    }

    @Test(arguments: [("zstd:-1", "zstd -1"), ("lz4", "lz4"), ("none", "raw")])
    func whatAFetchAsksForIsSaidToBeTheReason(codec: String, name: String) async throws {
        try await ServingTool.with { server in
            try server.serve("f", Self.lines(mebibytes: 13))
            let said = try await server.fetch("f", "--codec", codec, "--explain")
            #expect(said.status == 0, "\(said.errors)")
            let lines = said.text.split(separator: "\n", omittingEmptySubsequences: false)
            try #require(lines.count == 3 && lines[2] == "", "\(said.text)")
            #expect(lines[0].hasPrefix("\(server.address): 4 chunks, 13 MiB"), "\(said.text)")
            #expect(lines[1] == "chose \(name) for 100 % of the chunks because it was asked for")

            let answer = try await server.fetch("f", "--codec=\(codec)", "--explain", "--json", "--force")
            let document = try JSONDecoder().decode(Document.self, from: answer.output)
            let source = try onlySource(document.explanation, bytes: 13 << 20)
            let choice = try #require(source.choices.first { $0.chunks > 0 })
            #expect(choice.chunks == 4 && choice.reason == .asked)
            #expect(source.isTold && source.packingThreads > 0)
            #expect(document.explanation?.text.hasSuffix("because it was asked for\n") == true)
            let silent = try await server.fetch("f", "--codec=\(codec)", "--json", "--force")
            #expect(try JSONDecoder().decode(Document.self, from: silent.output).explanation == nil)
        }
    }

    /// Over a slow link, where packing pays, the tuner packs, and says on what grounds.
    @Test func whatWasChosenOverASlowLinkIsExplained() async throws {
        try await ServingTool.with("--send-rate-limit", "20MiB") { server in
            try server.serve("f", Self.lines(mebibytes: 32))
            let answer = try await server.fetch("f", "--connections=1", "--explain", "--json")
            #expect(answer.status == 0, "\(answer.errors)")
            let document = try JSONDecoder().decode(Document.self, from: answer.output)
            let source = try onlySource(document.explanation, bytes: 32 << 20)
            #expect(source.isTold)
            let linkRate = try #require(source.linkRate)
            #expect(linkRate > .mebibytes(1))
            // What the source counted is what it sent, but for chunks that did not shrink.
            #expect(source.choices.reduce(0) { $0 + $1.chosen } == 8)
            let packed = source.choices.filter { $0.codec != "none" && $0.chunks > 0 }
            #expect(!packed.isEmpty && packed.allSatisfy { $0.chunks <= $0.chosen && $0.wire < $0.size })
            #expect(packed.allSatisfy { ($0.ratio ?? 1) < 0.9 && ($0.coreRate ?? .zero) > .mebibytes(1) })
            #expect(source.choices.allSatisfy { $0.chosen == 0 || $0.reason != .unknown })
            let text = try #require(document.explanation?.text)
            #expect(
                text.firstMatch(of: /\nchose (raw|lz4|zstd -?[0-9]) for [1-9][0-9]? % of the chunks because [a-z ]+\n$/) != nil
                    || text.firstMatch(of: /\nchose .* for 100 % of the chunks because [a-z ]+\n$/) != nil, "\(text)")
        }
    }

    @Test func dataThatDoesNotShrinkIsSaidToBeSo() async throws {
        try await ServingTool.with { server in
            try server.serveNoise("f", mebibytes: 64)
            let said = try await server.fetch("f", "--explain")
            #expect(said.text.hasSuffix("\nchose raw for 100 % of the chunks because the data does not shrink\n"), "\(said.text)")
        }
    }

    @Test func aGetExplainsItself() async throws {
        try await TestCluster.with(2) { cluster in
            let bytes = Self.lines(mebibytes: 13)
            try cluster.makeFile("f", bytes)
            let ref = try await cluster.run("put", "f").line
            let got = try await cluster.run("get", ref, "-o", "g", "--codec", "lz4", "--explain", on: 1)
            #expect(got.status == 0, "\(got.errors)")
            #expect(got.text.contains(": 4 chunks, 13 MiB as "), "\(got.text)")
            #expect(got.text.hasSuffix("chose lz4 for 100 % of the chunks because it was asked for\n"), "\(got.text)")
            #expect(try cluster.read("g") == bytes)

            // With -o - standard output is the data's.
            let piped = try await cluster.run("get", ref, "-o", "-", "--explain", on: 1)
            #expect(piped.output == bytes)
            #expect(piped.errors.contains("chose "), "\(piped.errors)")

            let document = try await cluster.run("get", ref, "--codec", "zstd:3", "--explain", "--json", on: 1)
            let answer = try JSONDecoder().decode(Document.self, from: document.output)
            let source = try onlySource(answer.explanation, bytes: bytes.count)
            #expect(source.choices.contains { $0.codec == "zstd" && $0.level == 3 && $0.chunks == 4 && $0.reason == .asked })

            // Where it was put nothing is transferred, and nothing is said of what others got.
            let here = try await cluster.run("get", ref, "-o", "h", "--explain")
            #expect(here.text == "nothing was transferred: it was on this node\n", "\(here.text)")
            let hereToo = try await cluster.run("get", ref, "--explain", "--json")
            #expect(try JSONDecoder().decode(Document.self, from: hereToo.output).explanation == nil)
        }
    }

    @Test func aPartAndASmallObjectAreExplainedToo() async throws {
        try await TestCluster.with(2) { cluster in
            try cluster.makeFile("f", Self.lines(mebibytes: 13))
            let ref = try await cluster.run("put", "f").line
            let part = try await cluster.run("get", ref, "--range", "5MiB:1KiB", "-o", "p", "--explain", on: 1)
            #expect(part.status == 0, "\(part.errors)")
            #expect(part.text.contains(": 1 chunk, 4 MiB"), "\(part.text)")
            #expect(part.text.contains("chose "), "\(part.text)")

            try cluster.makeFile("small", Data("a few bytes".utf8))
            let small = try await cluster.run("put", "small").line
            let got = try await cluster.run("get", small, "-o", "s", "--explain", on: 1)
            #expect(got.text.contains("1 chunk, 11 bytes"), "\(got.text)")
            #expect(
                got.text.hasSuffix("chose raw for 100 % of the chunks because so little comes with the first answer\n"),
                "\(got.text)")
        }
    }
}
