// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

/// Names, keys and files that change: what must not pass between real nodes.
@Suite(.serialized) struct IntruderTests {
    @Test func aNodeWithAnotherKeyIsRefusedAndSaysSo() async throws {
        try await withCluster(1) { cluster in
            let other = cluster.directory + "/other.key"
            try String(repeating: "5a", count: 32).appending("\n").write(toFile: other, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: other)
            let log = cluster.directory + "/refused.log"
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            let node = try TestProcess(
                "raystore",
                [
                    "start", "--block", "--leash", "--address", "127.0.0.1:\(cluster.controlPort)", "--key-file", other,
                    "--state-dir",
                    cluster.directory + "/refused",
                ],
                errors: FileHandle(forWritingTo: URL(fileURLWithPath: log)))
            #expect(await eventually { !node.isRunning })
            #expect(node.end() != 0)
            let said = try String(contentsOfFile: log, encoding: .utf8)
            #expect(said.contains("key"))
            #expect(said.split(separator: "\n").count == 1)
        }
    }

    @Test func aReferencedFileThatChangesIsAnErrorOnEveryNode() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withCluster(2) { cluster in
            let path = try scratch.file("live.log", size: 5 << 20)
            let a = try await cluster.session(0)
            let b = try await cluster.session(1)
            let ref = try await a.put(RayFile(path: path, enableCopy: false))
            let there = try await b.open(ref.shared())
            try Data(pattern(5 << 20, seed: 2)).write(to: URL(fileURLWithPath: path))
            let error = await failure { _ = try await b.get(there, timeout: .seconds(20)) }
            #expect(error?.code == .sourceChanged)
            #expect(error?.message.contains("live.log") == true)
            #expect(cluster.files().isEmpty)
            await b.close()
            await a.close()
        }
    }

    @Test func namesOfOneJobAreNotSeenByAnother() async throws {
        try await withCluster(2) { cluster in
            let a = try await cluster.session(0)
            let b = try await cluster.session(1)
            try await a.bind("weights", to: a.put(bytes: [1]))
            #expect(await failure { _ = try await b.find("weights", as: Bytes.self) }?.code == .nameUnknown)
            await b.close()
            await a.close()
        }
    }
}
