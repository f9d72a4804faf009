// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import Testing

@testable import raystore

/// Each bad input is one line that names the thing, a status that is not 0, and nothing half-made.
@Suite struct BadInputTests {
    @Test func whatCannotBePut() async throws {
        try await TestCluster.with(1) { cluster in
            try await cluster.run("put", "missing.txt").expectOneLine(cluster.directory + "/missing.txt")
            try await cluster.run("put", cluster.directory).expectOneLine(cluster.directory, "directory")
            try await cluster.run("put", "/dev/null").expectOneLine("/dev/null")
            try await cluster.run("put", "").expectOneLine("path", status: 64)
            try cluster.makeFile("f", Data("f".utf8))
            try await cluster.run("put", "f", "--no-copy", "--adopt").expectOneLine("--no-copy", "--adopt", status: 64)
            try await cluster.run("put", "f", "--name", "").expectOneLine("name")
            try await cluster.run("put", "f", "--name", "a\nb").expectOneLine("name")
            try await cluster.run("put", "f", "--name", String(repeating: "x", count: 129)).expectOneLine("129", "128")
            let ref = "00ffffffffffffffffffffffffffffffffffffff0100000001e1f505"
            try await cluster.run("put", "f", "--name", ref).expectOneLine(ref, status: 64)
            #expect(try await cluster.run("list").text == "The cluster holds no objects.\n")
        }
    }

    @Test(.enabled(if: geteuid() != 0, "root can read every file"))
    func aFileThatCannotBeRead() async throws {
        try await TestCluster.with(1) { cluster in
            let path = try cluster.makeFile("secret", Data("x".utf8))
            chmod(path, 0)
            try await cluster.run("put", "secret").expectOneLine(path, "read")
        }
    }

    @Test func aNameInUse() async throws {
        try await TestCluster.with(1) { cluster in
            try cluster.makeFile("f", Data("f".utf8))
            let ref = try await cluster.run("put", "f", "--name", "taken").line
            try cluster.makeFile("g", Data("g".utf8))
            try await cluster.run("put", "g", "--name", "taken", "--adopt").expectOneLine("'taken'", ref, "raystore rm")
            #expect(try cluster.names().contains("g"), "a file that was refused is not moved")
            let list = try await cluster.run("list", "--json").json()
            #expect((list["objects"] as? [Any])?.count == 1)
        }
    }

    @Test(arguments: ["get", "rm"])
    func whatIsNoRef(command: String) async throws {
        try await TestCluster.with(1) { cluster in
            let short = "00ffffffffffffffffffffffffffffffffffffff0100000001e1f5"
            try await cluster.run(command, short).expectOneLine("'\(short)'", "56 hex digits")
            try await cluster.run(command, "no such name").expectOneLine("'no such name'", "namespace 'default'")
            let unknown = "00ffffffffffffffffffffffffffffffffffffff0900000001e1f505"
            try await cluster.run(command, unknown).expectOneLine(unknown, "raystore list")
        }
    }

    @Test func whereAFileCannotGo() async throws {
        try await TestCluster.with(1) { cluster in
            try cluster.makeFile("f", Data("f".utf8))
            let ref = try await cluster.run("put", "f").line
            try await cluster.run("get", ref, "-o", "missing/f").expectOneLine(cluster.directory + "/missing")
            try await cluster.run("get", ref, "-o", "").expectOneLine("-o", status: 64)
            try await cluster.run("get", ref, "-o", "/dev/null", "--force").expectOneLine("/dev/null", "not a file")
            try await cluster.run("get", ref, "-o", "-", "--json").expectOneLine("--json", status: 64)
            #expect(try cluster.names() == ["f", "n0"])
        }
    }

    @Test func aStoreTooSmall() async throws {
        try await TestCluster.with(1, memory: "32MiB") { cluster in
            try await cluster.addNode(memory: "4MiB")
            let session = try await Session.connect(socket: cluster.members[0].socket)
            let ref = try session.put(bytes: [UInt8](repeating: 7, count: 16 << 20))
            let text = try await ref.shared().text
            let get = try await cluster.run("get", text, "-o", "x", on: 1)
            get.expectOneLine("4194304", "more memory")
            #expect(try cluster.names() == ["n0", "n1"])
            withExtendedLifetime(ref) {}
            await session.close()
        }
        try await Tool.run(["start", "--head", "--memory", "10KiB"]).expectOneLine("--memory", "1MiB", status: 64)
        for mark in ["0", "101%", "half"] {
            try await Tool.run(["start", "--head", "--disk-watermark", mark]).expectOneLine("--disk-watermark", mark, status: 64)
        }
        for marks in ["70:80", "80", "101:70", "80:0", "a:b"] {
            try await Tool.run(["start", "--head", "--spill-watermarks", marks])
                .expectOneLine("--spill-watermarks", marks, status: 64)
        }
        try await Tool.run(["start", "--head", "--memory", "8000000GiB"]).expectOneLine("--memory", "machine")
    }

    @Test(arguments: ["zstd", "", "ON"]) func aCompressionThatIsNoneIsRefused(text: String) async throws {
        try await Tool.run(["start", "--head", "--spill-compression", text])
            .expectOneLine("--spill-compression", "off, on or auto", status: 64)
    }

    @Test func aStorageThatCannotBe() async throws {
        try await TestCluster.with(1) { cluster in
            let directory = cluster.directory
            let start = ["start", "--head", "--port", "0", "--state-dir", "x", "--storage"]
            for (storage, words) in [
                ("", ["--storage"]), ("{", ["JSON"]), ("@missing", [directory + "/missing"]),
                (#"{"type": "tape"}"#, ["tape", "filesystem"]),
                (#"{"type": "filesystem", "params": {"directory": "/a"}}"#, ["directory:", "directory_path"]),
                (#"{"type": "filesystem"}"#, ["directory_path"]), (#"{"type": "ray_storage"}"#, ["--cluster-storage"]),
                ("/proc/spill", ["directory_path", "/proc/spill"]),
            ] {
                let result = try await Tool.run(start + [storage], in: directory)
                for word in words { result.expectOneLine(word) }
            }
            #expect(try cluster.names() == ["n0"], "a failed start leaves no directory")
        }
    }

    @Test func aClusterStorageThatCannotBe() async throws {
        try await Tool.run(["start", "--address", "127.0.0.1:1", "--cluster-storage", "/a"])
            .expectOneLine("--cluster-storage", "head", status: 64)
        for (place, word) in [("gs://a", "gs://a"), ("s3:///x", "s3:///x"), ("", "--cluster-storage")] {
            try await Tool.run(["start", "--head", "--cluster-storage", place]).expectOneLine(word)
        }
        for option in [["--spill-file-size", "0"], ["--spill-file-objects", "0"], ["--spill-read-ahead", "51"]] {
            try await Tool.run(["start", "--head"] + option).expectOneLine(option[0], status: 64)
        }
    }

    @Test func aPortInUse() async throws {
        try await TestCluster.with(1) { cluster in
            let address = cluster.members[0].address
            let port = String(address.split(separator: ":")[1])
            try await Tool.run(["start", "--head", "--state-dir", "x", "--port", port], in: cluster.directory)
                .expectOneLine(address, "in use")
            #expect(try cluster.names() == ["n0"], "a failed start leaves no directory")
        }
    }

    @Test func aStateDirectoryInUse() async throws {
        try await TestCluster.with(2) { cluster in
            for member in cluster.members {
                try await Tool.run(
                    [
                        "start", "--state-dir", member.stateDirectory, "--address", cluster.members[0].address, "--key-file",
                        cluster.members[0].keyFile,
                    ], in: cluster.directory
                ).expectOneLine(member.stateDirectory)
                #expect(member.process.isRunning)
            }
            #expect((try await cluster.run("status", "--json").json()["nodes"] as? [Any])?.count == 2)
        }
    }

    @Test func aStaleSocket() async throws {
        try await TestCluster.with(1) { cluster in
            let member = cluster.members[0]
            kill(member.process.pid, SIGKILL)
            #expect(await member.process.waitUntilGone(for: .seconds(10)))
            #expect(FileManager.default.fileExists(atPath: member.socket))
            try await cluster.run("status").expectOneLine(member.socket, "raystore start")
            // A new node takes the place over.
            let again = try await Tool.run(
                ["start", "--head", "--json", "--state-dir", "n0", "--port", "0", "--memory", "16MiB"], in: cluster.directory)
            #expect(again.status == 0, "\(again.errors)")
            #expect(try await cluster.run("stop").status == 0)
        }
    }

    @Test func aWrongOrUnusableKey() async throws {
        try await TestCluster.with(1) { cluster in
            let address = cluster.members[0].address
            func join(_ key: String) async throws -> Tool.Outcome {
                try await Tool.run(
                    ["start", "--address", address, "--key-file", key, "--state-dir", "x", "--memory", "8MiB"],
                    in: cluster.directory)
            }
            try await join("missing.key").expectOneLine("missing.key")
            let path = try cluster.makeFile("bad.key", Data("short".utf8))
            chmod(path, 0o600)
            try await join("bad.key").expectOneLine(path)
            try cluster.makeFile("other.key", Data((String(repeating: "ab", count: 32) + "\n").utf8))
            chmod(cluster.directory + "/other.key", 0o600)
            try await join("other.key").expectOneLine(address, "key")
            chmod(cluster.directory + "/other.key", 0o644)
            try await join("other.key").expectOneLine("other.key", "0644")
            #expect(try !cluster.names().contains("x"), "a failed start leaves no directory")
            #expect((try await cluster.run("status", "--json").json()["nodes"] as? [Any])?.count == 1)
        }
    }

    @Test func addressesThatLeadNowhere() async throws {
        try await TestCluster.with(1) { cluster in
            let key = cluster.members[0].keyFile
            try await Tool.run(
                ["start", "--address", "127.0.0.1:1", "--key-file", key, "--state-dir", "x"], in: cluster.directory
            ).expectOneLine("127.0.0.1:1")
            for bad in ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ":6380", "::1:6380", ""] {
                try await Tool.run(["start", "--address", bad]).expectOneLine("'\(bad)'", status: 64)
            }
        }
        try await Tool.run(["start"]).expectOneLine("--head", "--address", status: 64)
        try await Tool.run(["start", "--head", "--address", "1.2.3.4:5"]).expectOneLine("--head", status: 64)
        try await Tool.run(["start", "--head", "--bulk-port", "7", "--advertise-bulk-port", "0"])
            .expectOneLine("--advertise-bulk-port 0", status: 64)
        try await Tool.run(["start", "--head", "--advertise-bulk-port", "7"])
            .expectOneLine("--advertise-bulk-port", "--bulk-port", status: 64)
        try await Tool.run(["start", "--head", "--host", "0.0.0.0"]).expectOneLine("0.0.0.0", status: 64)
    }

    /// A socket at which somebody else listens.
    @Test func aSocketThatIsNoNode() async throws {
        try await TestCluster.with(0) { cluster in
            let path = cluster.directory + "/node.sock"
            let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(listener) }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            #expect(bound == 0)
            #expect(listen(listener, 8) == 0)
            let stranger = Thread {
                while true {
                    let connection = accept(listener, nil, nil)
                    if connection < 0 { return }
                    let text = Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)
                    _ = send(connection, text, text.count, Int32(MSG_NOSIGNAL))
                    close(connection)
                }
            }
            stranger.start()
            let outcome = try await Tool.run(["status", "--state-dir", cluster.directory], in: cluster.directory)
            outcome.expectOneLine(path)
            shutdown(listener, Int32(SHUT_RDWR))
        }
    }

    @Test func aDirectoryThatOthersCanWriteIsNotTrusted() async throws {
        try await TestCluster.with(0) { cluster in
            let path = cluster.directory + "/open"
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o777])
            chmod(path, 0o777)
            try await Tool.run(["start", "--head", "--state-dir", path, "--port", "0"]).expectOneLine(path, "0700")
            #expect(try cluster.names(in: "open") == [])
            try await Tool.run(["start", "--head", "--state-dir", "/etc/passwd", "--port", "0"])
                .expectOneLine("/etc/passwd", "not a directory")
        }
    }

    @Test func mistakesInTheArguments() async throws {
        try await Tool.run(["frobnicate"]).expectOneLine("'frobnicate'", "raystore --help", status: 64)
        try await Tool.run(["get"]).expectOneLine("<ref-or-name>", "raystore get --help", status: 64)
        try await Tool.run(["start", "--head", "--memory", "lots"]).expectOneLine("'lots'", "512MiB", status: 64)
        try await Tool.run(["status", "--colour"]).expectOneLine("'--colour'", status: 64)
    }
}
