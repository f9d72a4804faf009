// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A fetch whose server goes away in the middle and comes back: it waits, says so, and goes on where it was.
@Suite(.serialized) struct FetchPatienceTests {
    private static let size = 32 << 20

    /// `raystore serve` and `raystore fetch` in a folder of their own, each in its place of the network, if there is one.
    private final class Scene {
        let directory = temporaryFolder() + "/rsct-" + UUID().uuidString.prefix(8)
        private let network: TestNetwork?
        private let host: String
        private let port: UInt16
        private var server: TestProcess?
        private var fetch: TestProcess?

        init(_ network: TestNetwork? = nil) throws {
            self.network = network
            // A loopback address of its own: while the server is away, another test's might get its port.
            host = network?.host(0) ?? "127.\(Int.random(in: 2...254)).\(Int.random(in: 0...255)).\(Int.random(in: 1...254))"
            port = try freePort()
            try FileManager.default.createDirectory(
                atPath: directory + "/served", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            try Data(pattern(FetchPatienceTests.size)).write(to: URL(fileURLWithPath: directory + "/served/f"))
        }

        deinit {
            fetch?.end()
            server?.end()
            try? FileManager.default.removeItem(atPath: directory)
        }

        var address: String { "\(host):\(port)" }

        func serve() async throws {
            let hasKey = FileManager.default.fileExists(atPath: directory + "/key")
            let process = try TestProcess(
                "raystore",
                [
                    "serve", directory + "/served", "--bind", host, "--port", "\(port)", hasKey ? "--key-file" : "--make-key",
                    directory + "/key",
                ], errors: log("server"), wrapper: network?.wrapper(0) ?? [])
            server = process
            #expect(await process.nextLine()?.hasPrefix("Serving ") == true)
        }

        func killServer() {
            server?.end()
        }

        func beginFetch(_ options: String...) throws {
            fetch = try TestProcess(
                "raystore",
                [
                    "fetch", "\(address)/f", "--key-file", directory + "/key", "-o", directory + "/f", "--chunk-size", "64KiB",
                    "--window", "1MiB", "--rate-limit", "4MiB",
                ] + options, errors: log("fetch"), wrapper: network?.wrapper(1) ?? [])
        }

        private func log(_ name: String) throws -> FileHandle {
            _ = FileManager.default.createFile(atPath: "\(directory)/\(name).log", contents: nil)
            return try #require(FileHandle(forWritingAtPath: "\(directory)/\(name).log"))
        }

        func text(_ name: String) throws -> String { try String(contentsOfFile: "\(directory)/\(name).log", encoding: .utf8) }

        /// How many bytes the fetch has recorded.
        var recorded: Int {
            guard let journal = try? Data(contentsOf: URL(fileURLWithPath: directory + "/.f.raystore-part.chunks")),
                journal.count > 80
            else { return 0 }
            return journal.dropFirst(80).withUnsafeBytes { bytes in
                stride(from: 0, to: bytes.count - 7, by: 8)
                    .count { bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self) != 0 }
            } << 16
        }

        func awaitPart() async throws {
            try await Tool.eventually("a part has come") { recorded > FetchPatienceTests.size / 4 }
            #expect(fetch?.isRunning == true && recorded < FetchPatienceTests.size)
        }

        func awaitEnd(within limit: Duration = .seconds(60)) async throws -> Int32 {
            let process = try #require(fetch)
            #expect(await eventually(within: limit) { !process.isRunning })
            return process.end()
        }

        var isSame: Bool {
            FileManager.default.contentsEqual(atPath: directory + "/f", andPath: directory + "/served/f")
        }
    }

    @Test(.timeLimit(.minutes(2))) func aServerThatIsKilledAndStartedAgainIsWaitedFor() async throws {
        let scene = try Scene()
        try await scene.serve()
        try scene.beginFetch()
        try await scene.awaitPart()
        scene.killServer()
        try await Tool.eventually("it says for whom it waits") {
            try scene.text("fetch").contains("waiting for \(scene.address)")
        }
        let had = scene.recorded
        try await scene.serve()
        #expect(try await scene.awaitEnd() == 0)
        #expect(scene.isSame)
        #expect(had > Self.size / 4)
    }

    @Test(.timeLimit(.minutes(2))) func patienceAndTimeEnd() async throws {
        for (options, words) in [(["--patience", "1"], "cannot connect"), (["--timeout", "6"], "time")] {
            let scene = try Scene()
            try await scene.serve()
            try scene.beginFetch(options[0], options[1])
            try await scene.awaitPart()
            scene.killServer()
            #expect(try await scene.awaitEnd() == 1)
            let text = try scene.text("fetch")
            #expect(text.contains("what has come is kept") && text.contains(words), "\(text)")
            #expect(!FileManager.default.fileExists(atPath: scene.directory + "/f") && scene.recorded > 0)
        }
        try await Tool.run(["fetch", "h:1/f", "--patience=-1"]).expectOneLine("--patience", status: 64)
        try await Tool.run(["fetch", "h:1/f", "--timeout", "0"]).expectOneLine("--timeout", status: 64)
    }

    @Test(.timeLimit(.minutes(2)), .enabled(if: TestNetwork.isPossible, "network namespaces need root"))
    func aLinkThatIsCutForTenSecondsIsWaitedFor() async throws {
        let network = try TestNetwork(places: 2)
        defer { network.remove() }
        let scene = try Scene(network)
        try await scene.serve()
        try scene.beginFetch()
        try await scene.awaitPart()
        try network.cut(0, 1)
        // The cut is what is tested: it has to last.
        try await Task.sleep(for: .seconds(10))
        #expect(try scene.text("fetch").contains("waiting for \(scene.address)"))
        #expect(scene.recorded < Self.size)
        try network.mend(0, 1)
        #expect(try await scene.awaitEnd() == 0)
        #expect(scene.isSame)
    }
}
