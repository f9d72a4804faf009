// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

@testable import raystore

/// Two nodes on loopback, used as a person would.
@Suite struct RoundTripTests {
    @Test(arguments: ["plain.txt", "with spaces (1).txt", "日本語 ünï 🚀.jsonl", "-dash", "quote'\"$.x"])
    func aFileGoesFromOneNodeToAnotherUnderItsOwnName(name: String) async throws {
        try await TestCluster.with(2) { cluster in
            let bytes = Data((0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) })
            let path = try cluster.makeFile(name, bytes)
            let put = try await cluster.run("put", path)
            #expect(put.status == 0, "\(put.errors)")
            #expect(put.line.count == 56)
            #expect(put.errors == "")
            try FileManager.default.createDirectory(atPath: cluster.directory + "/out", withIntermediateDirectories: false)
            let get = try await cluster.run("get", put.line, "-o", "out", on: 1)
            #expect(get.status == 0, "\(get.errors)")
            #expect(get.text == "")
            #expect(try cluster.names(in: "out") == [name])
            #expect(try cluster.read("out/" + name) == bytes)
        }
    }

    @Test func aPartIsFetchedAlone() async throws {
        try await TestCluster.with(2) { cluster in
            let bytes = Data((0..<9_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) })
            let ref = try await cluster.run("put", try cluster.makeFile("f", bytes)).line
            for node in [1, 0] {
                let get = try await cluster.run("get", ref, "--range", "4194300:5000", "-o", "part\(node)", on: node)
                #expect(get.status == 0, "\(get.errors)")
                #expect(try cluster.read("part\(node)") == bytes[4_194_300..<4_199_300])
            }
            #expect(try await cluster.run("get", ref, "--range", "8999990:", "-o", "tail", on: 1).status == 0)
            #expect(try cluster.read("tail") == bytes[8_999_990...])
        }
    }

    @Test func anEmptyFileArrivesEmpty() async throws {
        try await TestCluster.with(2) { cluster in
            try cluster.makeFile("empty", Data())
            let ref = try await cluster.run("put", "empty").line
            let get = try await cluster.run("get", ref, "-o", "copy", on: 1)
            #expect(get.status == 0, "\(get.errors)")
            #expect(try cluster.read("copy") == Data())
        }
    }

    @Test func aNamedFileIsFoundListedAndRemovedFromEitherNode() async throws {
        try await TestCluster.with(2) { cluster in
            try cluster.makeFile("f", Data("hello\n".utf8))
            let ref = try await cluster.run("put", "f", "--name", "a name").line
            let list = try await cluster.run("list", on: 1)
            #expect(list.text.contains(ref) && list.text.contains("a name") && list.text.contains("detached"))
            #expect(try await cluster.run("memory").text.contains(ref))
            #expect(try await cluster.run("get", "a name", "-o", "-", on: 1).text == "hello\n")
            let removed = try await cluster.run("rm", "a name", on: 1)
            #expect(removed.status == 0, "\(removed.errors)")
            #expect(removed.text == "")
            try await Tool.eventually("the file is still listed") {
                try await cluster.run("list").text == "The cluster holds no objects.\n"
            }
            try await cluster.run("get", "a name", "-o", "-").expectOneLine("'a name'", "raystore list")
        }
    }

    @Test func aNameWhoseOwnerDiedCanBeRemoved() async throws {
        try await TestCluster.with(2) { cluster in
            try cluster.makeFile("f", Data("lost".utf8))
            #expect(try await cluster.run("put", "f", "--name", "orphan", on: 1).status == 0)
            kill(cluster.members[1].process.pid, SIGKILL)
            try await Tool.eventually("the dead node is still listed") {
                (try await cluster.run("status", "--json").json()["nodes"] as? [Any])?.count == 1
            }
            let get = try await cluster.run("get", "orphan", "-o", "x")
            #expect(get.status == 1)
            #expect(get.errors.split(separator: "\n").count == 1, "\(get.errors)")
            let removed = try await cluster.run("rm", "orphan")
            #expect(removed.status == 0, "\(removed.errors)")
            try await cluster.run("get", "orphan", "-o", "x").expectOneLine("'orphan'")
        }
    }

    @Test func ctrlCDuringAGetLeavesNothing() async throws {
        try await TestCluster.with(2) { cluster in
            let path = cluster.directory + "/big"
            #expect(FileManager.default.createFile(atPath: path, contents: nil))
            #expect(truncate(path, 3 << 30) == 0, "a sparse file takes nothing to make")
            let ref = try await cluster.run("put", "big", "--no-copy").line
            let process = try Tool.start(
                ["get", ref, "-o", "copy", "--rate-limit", "100MiB", "--state-dir", cluster.members[1].stateDirectory],
                in: cluster.directory)
            defer { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
            let partial = cluster.members[1].stateDirectory + "/partial"
            func underWay() -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: partial)) ?? [] }
            try await Tool.eventually("nothing is on its way") { !underWay().isEmpty }
            kill(process.processIdentifier, SIGINT)
            await Tool.end(of: process)
            #expect(process.terminationStatus == 130)
            try await Tool.eventually("the partial file stays") { underWay().isEmpty }
            #expect(try cluster.names() == ["big", "n0", "n1"])
        }
    }

    @Test func namesOfOneNamespaceAreNotSeenInAnother() async throws {
        try await TestCluster.with(1) { cluster in
            try cluster.makeFile("f", Data("1".utf8))
            try cluster.makeFile("g", Data("2".utf8))
            #expect(try await cluster.run("put", "f", "--name", "x").status == 0)
            #expect(try await cluster.run("put", "g", "--name", "x", "--namespace", "other").status == 0)
            #expect(try await cluster.run("get", "x", "-o", "-").text == "1")
            #expect(try await cluster.run("get", "x", "-o", "-", "--namespace", "other").text == "2")
            #expect(try await cluster.run("list").text.contains("other/x"))
        }
    }

    @Test func aFileThatIsNotCopiedStaysWhereItIs() async throws {
        try await TestCluster.with(2) { cluster in
            let path = try cluster.makeFile("f", Data("here".utf8))
            let ref = try await cluster.run("put", "f", "--no-copy").line
            #expect(try await cluster.run("get", ref, "-o", "-", on: 1).text == "here")
            try cluster.makeFile("f", Data("changed".utf8))
            try await cluster.run("get", ref, "-o", "-", on: 1).expectOneLine(path)
            #expect(try await cluster.run("rm", ref).status == 0)
            try await Tool.eventually("the file is still listed") {
                try await cluster.run("list").text == "The cluster holds no objects.\n"
            }
            #expect(try cluster.read("f") == Data("changed".utf8))
        }
    }

    @Test func anAdoptedFileIsMoved() async throws {
        try await TestCluster.with(1) { cluster in
            try cluster.makeFile("f", Data("mine".utf8))
            let ref = try await cluster.run("put", "f", "--adopt").line
            #expect(try !cluster.names().contains("f"))
            #expect(try await cluster.run("get", ref, "-o", "f").status == 0)
            #expect(try cluster.read("f") == Data("mine".utf8))
        }
    }

    @Test func aFetchedFileIsReplacedOnlyWhenForced() async throws {
        try await TestCluster.with(1) { cluster in
            try cluster.makeFile("f", Data("new".utf8))
            let ref = try await cluster.run("put", "f").line
            try cluster.makeFile("there", Data("old".utf8))
            try await cluster.run("get", ref, "-o", "there").expectOneLine("there exists", "--force")
            #expect(try cluster.read("there") == Data("old".utf8))
            #expect(try await cluster.run("get", ref, "-o", "there", "--force").status == 0)
            #expect(try cluster.read("there") == Data("new".utf8))
            #expect(FileManager.default.isWritableFile(atPath: cluster.directory + "/there"))
            #expect(try cluster.names() == ["f", "n0", "there"], "nothing half-made stays")
        }
    }

    @Test func anObjectOfAProgramIsWrittenAsItsBytes() async throws {
        try await TestCluster.with(2) { cluster in
            let session = try await Session.connect(socket: cluster.members[0].socket)
            let ref = try session.put(bytes: [UInt8]("raw \0 bytes".utf8))
            let text = try await ref.shared().text
            let get = try await cluster.run("get", text, "-o", "-", on: 1)
            #expect(get.output == Data("raw \0 bytes".utf8), "\(get.errors)")
            let refused = try await cluster.run("rm", ref.id.description, on: 1)
            refused.expectOneLine("not detached")
            withExtendedLifetime(ref) {}
            await session.close()
        }
    }

    @Test func everyDocumentIsJSONAndNothingElse() async throws {
        try await TestCluster.with(2) { cluster in
            try cluster.makeFile("f", Data("json".utf8))
            let put = try await cluster.run("put", "f", "--json", "--name", "n")
            let ref = try #require(try put.json()["ref"] as? String)
            #expect(put.errors == "")
            let status = try await cluster.run("status", "--json").json()
            #expect((status["nodes"] as? [Any])?.count == 2)
            for what in ["list", "memory"] {
                let report = try await cluster.run(what, "--json", on: 1).json()
                #expect((report["objects"] as? [[String: Any]])?.contains { $0["object"] as? String == ref } == true)
                #expect((report["names"] as? [Any])?.count == 1)
            }
            let get = try await cluster.run("get", ref, "-o", "g", "--json", on: 1)
            #expect(try get.json()["path"] as? String == cluster.directory + "/g")
            #expect(try get.json()["bytes"] as? Int == 4)
            #expect(get.errors == "", "no progress with --json")
            #expect(try await cluster.run("rm", ref, "--json").json()["removed"] as? [String] == [ref])
            let stop = try await cluster.run("stop", "--json", on: 1)
            #expect(try stop.json()["pid"] as? Int == Int(cluster.members[1].process.pid))
        }
    }

    @Test func progressGoesToStandardErrorInWholeLines() async throws {
        try await TestCluster.with(2) { cluster in
            try cluster.makeFile("f", Data(count: 12 << 20))
            let ref = try await cluster.run("put", "f").line
            let get = try await cluster.run("get", ref, on: 1)
            #expect(get.status == 0)
            #expect(get.text == "f: 12 MiB, verified\n")
            #expect(get.errors.contains("12 MiB, 100%"), "\(get.errors)")
            #expect(!get.errors.contains("\r"))
        }
    }

    @Test func stopEndsTheProcessAndASecondStopFindsNobody() async throws {
        try await TestCluster.with(1) { cluster in
            let stop = try await cluster.run("stop")
            #expect(stop.status == 0, "\(stop.errors)")
            #expect(!cluster.members[0].process.isRunning)
            try await cluster.run("stop").expectOneLine("no node is running", cluster.members[0].stateDirectory, "raystore start")
        }
    }

    @Test func aNodeWhoseHeadIsGoneCanBeLookedAtAndStopped() async throws {
        try await TestCluster.with(2) { cluster in
            kill(cluster.members[0].process.pid, SIGKILL)
            #expect(await cluster.members[0].process.waitUntilGone(for: .seconds(10)))
            let status = try await cluster.run("status", on: 1)
            #expect(status.status == 0, "\(status.errors)")
            let stop = try await cluster.run("stop", on: 1)
            #expect(stop.status == 0, "\(stop.errors)")
            #expect(!cluster.members[1].process.isRunning)
        }
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aNodeInTheForegroundEndsInOrderOnASignal(signal: Int32) async throws {
        try await TestCluster.with(1) { cluster in
            let head = cluster.members[0]
            let log = cluster.directory + "/said"
            #expect(FileManager.default.createFile(atPath: log, contents: nil))
            let process = try Tool.start(
                [
                    "start", "--block", "--address", head.address, "--key-file", head.keyFile, "--state-dir", "b", "--memory",
                    "16MiB",
                ],
                in: cluster.directory, output: FileHandle(forWritingAtPath: log))
            defer { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
            try await Tool.eventually("it does not say that it runs") {
                String(decoding: try cluster.read("said"), as: UTF8.self).contains("raystore stop")
            }
            kill(process.processIdentifier, signal)
            await Tool.end(of: process)
            #expect(process.terminationStatus == 0)
            #expect((try await cluster.run("status", "--json").json()["nodes"] as? [Any])?.count == 1)
        }
    }

    /// A user by number or name comes to the readers' socket, reads there, and finds nothing of it when the node has ended.
    @Test func anAllowedReaderReadsAtTheReadersSocket() async throws {
        try await TestCluster.with(0) { cluster in
            let start = ["start", "--head", "--state-dir", "a", "--port", "0", "--memory", "16MiB"]
            try await Tool.run(start + ["--allow-reader", "nobody-of-this-name"], in: cluster.directory)
                .expectOneLine("nobody-of-this-name", "getent")
            try await Tool.run(start + ["--reader-socket", "r"], in: cluster.directory).expectOneLine(
                "--reader-socket", "--allow-reader")
            #expect(!FileManager.default.fileExists(atPath: cluster.directory + "/a-readers"))

            let up = try await Tool.run(start + ["--allow-reader", "\(getuid())", "--prefault", "4MiB"], in: cluster.directory)
            #expect(up.status == 0)
            let socket = cluster.directory + "/a-readers/node.sock"
            #expect(up.text.contains(socket))
            let writer = try await Session.connect(socket: cluster.directory + "/a/node.sock")
            let reader = try await Session.connect(socket: socket, access: .guardedReader)
            let ref = try await reader.open(writer.put(bytes: [1, 2, 3]).shared())
            #expect(try await Array(reader.get(ref, timeout: .seconds(20))) == [1, 2, 3])
            await reader.close()
            await writer.close()
            #expect(try await Tool.run(["stop", "--state-dir", "a"], in: cluster.directory).status == 0)
            #expect(!FileManager.default.fileExists(atPath: cluster.directory + "/a-readers"))
        }
    }

    /// How a test run that is killed takes the nodes along that the tool put into the background.
    @Test func aLeashedNodeInTheBackgroundEndsWithItsStandardInput() async throws {
        try await TestCluster.with(0) { cluster in
            let (reading, writing) = try SpawnedProcess.pipe()
            let log = cluster.directory + "/said"
            #expect(FileManager.default.createFile(atPath: log, contents: nil))
            let tool = try Tool.start(
                ["start", "--head", "--json", "--state-dir", "a", "--port", "0", "--memory", "16MiB"], in: cluster.directory,
                input: reading, output: FileHandle(forWritingAtPath: log))
            close(reading)
            await Tool.end(of: tool)
            #expect(tool.terminationStatus == 0)
            let launch = try JSONDecoder().decode(NodeLaunch.self, from: cluster.read("said"))
            let node = try #require(ProcessIdentity(of: launch.pid))
            #expect(node.isRunning)
            close(writing)
            #expect(await node.waitUntilGone(for: .seconds(30)))
        }
    }
}
