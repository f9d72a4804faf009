// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

@testable import raystore

/// `raystore prefetch`, as the README shows it, and options that do not go together.
@Suite(.serialized) struct PrefetchCommandTests {
    private func report(_ cluster: TestCluster) async throws -> ClusterReport {
        try JSONDecoder().decode(ClusterReport.self, from: try await cluster.run("status", "--json").output)
    }

    @Test func aPrefetchedCopyIsThereForTheNextGet() async throws {
        try await TestCluster.with(2) { cluster in
            let bytes = Data(pattern(9 << 20))
            try cluster.makeFile("f", bytes)
            #expect(try await cluster.run("put", "f", "--name", "model").status == 0)
            let node = try #require(try await report(cluster).nodes.first { $0.node.number != 1 }?.node.id.description)
            let prefetched = try await cluster.run("prefetch", "model", "--node", String(node.prefix(8)), "--wait")
            #expect(prefetched.status == 0 && prefetched.text == "" && prefetched.errors == "", "\(prefetched.errors)")
            let received = try await report(cluster).nodes.reduce(0) { $0 + $1.receivedBytes }
            #expect(received == UInt64(bytes.count))

            // It is in the store of that node: nothing moves any more.
            let got = try await cluster.run("get", "model", "-o", "g", "--explain", on: 1)
            #expect(got.text == "nothing was transferred: it was on this node\n", "\(got.text)\(got.errors)")
            #expect(try cluster.read("g") == bytes)
            #expect(try await report(cluster).nodes.reduce(0) { $0 + $1.receivedBytes } == received)

            // Given up, it goes.
            #expect(try await cluster.run("prefetch", "model", "--node", String(node.prefix(8)), "--end").status == 0)
            try await Tool.eventually("the copy is still there") {
                try await report(cluster).nodes.reduce(0) { $0 + $1.fileCount } == 1
            }
            #expect(try await cluster.run("rm", "model").status == 0)
        }
    }

    @Test func aNodePrefetchesForItselfAndInTheBackground() async throws {
        try await TestCluster.with(2) { cluster in
            try cluster.makeFile("f", Data(pattern(9 << 20)))
            let ref = try await cluster.run("put", "f").line
            #expect(try await cluster.run("prefetch", ref, on: 1).status == 0)
            try await Tool.eventually("no copy has come") {
                try await report(cluster).nodes.reduce(0) { $0 + $1.fileCount } == 2
            }
        }
    }

    @Test func whatAPrefetchCannotDoIsNamed() async throws {
        try await TestCluster.with(1) { cluster in
            try cluster.makeFile("f", Data(repeating: 1, count: 1000))
            let ref = try await cluster.run("put", "f").line
            try await cluster.run("prefetch", ref, "--node", "zz").expectOneLine("there is no node 'zz'", "raystore status")
            try await cluster.run("prefetch", ref, "--node", "").expectOneLine("there is no node ''")
            try await cluster.run("prefetch", "nobody-has-this", "--wait").expectOneLine("nobody-has-this")
            try await cluster.run("prefetch", ref, "--end", "--wait").expectOneLine("--end", "--wait", status: 64)
            try await cluster.run("prefetch", ref, "--keep", "0").expectOneLine("--keep", status: 64)
            try await cluster.run("prefetch", ref, "--timeout=-1").expectOneLine("--timeout", status: 64)
        }
    }

    /// What packs well shows how it came: packed as little, and as much, as was said.
    @Test func aRangeAndAPrefetchAreTransferredAsTheOptionsSay() async throws {
        try await TestCluster.with(2, memory: "64MiB") { cluster in
            let size = 8 << 20
            try cluster.makeFile("f", Data(repeating: 1, count: size))
            for (codec, name) in [("none", "raw"), ("lz4", "lz4")] {
                let ref = try await cluster.run("put", "f").line
                let part = try await cluster.run(
                    "get", ref, "--range", "100:1MiB", "--codec", codec, "--chunk-size", "64KiB", "--urgency", "background",
                    "--json", "-o", "part-\(name)", on: 1)
                #expect(part.status == 0, "\(part.errors)")
                #expect(try part.json()["codecs"] as? String == name)
                let before = try await report(cluster).nodes.reduce(0) { $0 + $1.receivedWireBytes }
                let prefetched = try await cluster.run(
                    "prefetch", ref, "--wait", "--codec", codec, "--chunk-size", "256KiB", "--connections", "1", "--window",
                    "1MiB", "--rate-limit", "1GiB", on: 1)
                #expect(prefetched.status == 0, "\(prefetched.errors)")
                let wire = try await report(cluster).nodes.reduce(0) { $0 + $1.receivedWireBytes } - before
                #expect(codec == "none" ? wire >= UInt64(size) : wire < UInt64(size / 10), "\(codec): \(wire)")
            }
        }
        try await Tool.run(["prefetch", "a", "--chunk-size", "3MiB"]).expectOneLine("chunkSize", status: 64)
        try await Tool.run(["get", "a", "--range", "0:1", "--chunk-size", "3MiB"]).expectOneLine("chunkSize", status: 64)
    }
}
