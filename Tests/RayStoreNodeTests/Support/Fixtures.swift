// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Testing

/// A directory of a test's own, removed by `remove`.
struct Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/raystore-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// A file with bytes that are different for every size and seed.
    func file(_ name: String, size: Int, seed: UInt64 = 1) throws -> String {
        let file = path + "/" + name
        try Data(pattern(size, seed: seed)).write(to: URL(fileURLWithPath: file))
        return file
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// Bytes that do not compress and can be made again.
func pattern(_ size: Int, seed: UInt64 = 1) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: size)
    bytes.withUnsafeMutableBytes { raw in
        var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(size)
        var offset = 0
        while offset < size {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            withUnsafeBytes(of: state) { word in
                let count = min(8, size - offset)
                raw[offset..<offset + count].copyBytes(from: word.prefix(count))
            }
            offset += 8
        }
    }
    return bytes
}

func read(_ path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// Runs a test with nodes that reach each other, and a session on each.
func withNodes(
    _ count: Int, configure: (inout NodeOptions) -> Void = { _ in },
    _ body: (LocalCluster, [Node], [Session]) async throws -> Void
) async throws {
    let cluster = try await LocalCluster()
    var nodes: [Node] = []
    var sessions: [Session] = []
    do {
        for _ in 0..<count {
            let node = try await cluster.addNode(configure: configure)
            nodes.append(node)
            sessions.append(try await Session.connect(socket: node.socketPath))
        }
        try await body(cluster, nodes, sessions)
    } catch {
        for session in sessions { await session.close() }
        await cluster.stop()
        throw error
    }
    for session in sessions { await session.close() }
    await cluster.stop()
}

extension Session {
    /// How many objects the whole cluster holds, and how many files.
    func census() async throws -> (objects: Int, files: Int) {
        let text = try await report("status")
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(text.utf8))
        return (report.nodes.reduce(0) { $0 + $1.objectCount }, report.nodes.reduce(0) { $0 + $1.fileCount })
    }
}

/// The failure that a piece of work throws.
func failure(_ body: () async throws -> Void) async -> RayStoreError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? RayStoreError
    }
}
