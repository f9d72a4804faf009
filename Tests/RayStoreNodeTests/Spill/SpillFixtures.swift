// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Puts when there is room; makes room first when there is none.
func put(_ bytes: [UInt8], _ session: Session, _ node: Node) async throws -> ObjectRef<Bytes> {
    for _ in 0..<100 {
        let outcome = Result { () throws(RayStoreError) in try session.put(bytes: bytes) }
        switch outcome {
        case .success(let ref): return ref
        case .failure(let error):
            guard error.code == .storeFull else { throw error }
            _ = await node.freeMemory(UInt64(bytes.count))
        }
    }
    throw SetUpFailure("no room comes for \(bytes.count) bytes")
}

/// Frees all memory that nobody has pinned, until the objects meant are among it: what was sent stays pinned for a moment after it has arrived.
func spillAll(of node: Node, until isGone: () throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(15)
    repeat {
        _ = await node.freeMemory(64 << 20)
        if try isGone() { return }
        try await Task.sleep(for: .milliseconds(5))
    } while ContinuousClock.now < end
    throw SetUpFailure("an object is still in memory after 15 s")
}

func equal(_ value: Bytes, _ expected: [UInt8]) -> Bool {
    // Not elementsEqual, which takes seconds for some megabytes in a debug build.
    value.count == expected.count
        && value.withUnsafeBytes { bytes in
            expected.withUnsafeBytes { memcmp(bytes.baseAddress!, $0.baseAddress!, expected.count) == 0 }
        }
}

/// Every file below the folder.
func spillFiles(_ folder: String) -> [String] {
    (FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []).filter { $0.contains("-multi-") }
}

/// A node that spills into a folder of its own, which is empty at the end; in a cluster that the body may add to.
func withSpillingCluster(
    capacity: UInt64, storage: (String) -> any ExternalStorage = { FilesystemStorage(directories: [$0], owner: "node") },
    configure: (inout NodeOptions) -> Void = { _ in },
    _ body: (LocalCluster, Node, Session, String) async throws -> Void
) async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let folder = scratch.path + "/spill"
    try await withNode(capacity: capacity, storage: storage(folder), configure: configure) { cluster, node, session in
        try await body(cluster, node, session, folder)
    }
    #expect(spillFiles(folder).isEmpty)
}

/// A cluster of one node, with a session; both have ended at the end.
private func withNode<Value>(
    capacity: UInt64, storage: any ExternalStorage, configure: (inout NodeOptions) -> Void,
    _ body: (LocalCluster, Node, Session) async throws -> Value
) async throws -> Value {
    let cluster = try await LocalCluster()
    let node = try await cluster.addNode(capacity: capacity, storage: storage, configure: configure)
    let session = try await Session.connect(socket: node.socketPath)
    let outcome: Result<Value, any Error>
    do {
        outcome = .success(try await body(cluster, node, session))
    } catch {
        outcome = .failure(error)
    }
    await session.close()
    await cluster.stop()
    return try outcome.get()
}

/// One life of a node, in a state directory that outlives it. It spills when it must, not before.
func withNodeLife<Value>(
    _ state: String, capacity: UInt64, _ storage: any ExternalStorage, _ configure: (inout NodeOptions) -> Void = { _ in },
    _ body: (Node, Session) async throws -> Value
) async throws -> Value {
    try await withNode(
        capacity: capacity, storage: storage,
        configure: { options in
            options.stateDirectory = state
            options.spill.highWatermark = 1
            configure(&options)
        }
    ) { _, node, session in try await body(node, session) }
}

func withSpilling(
    capacity: UInt64, storage: (String) -> any ExternalStorage = { FilesystemStorage(directories: [$0], owner: "node") },
    configure: (inout NodeOptions) -> Void = { _ in },
    _ body: (Node, Session, String) async throws -> Void
) async throws {
    try await withSpillingCluster(capacity: capacity, storage: storage, configure: configure) { _, node, session, folder in
        try await body(node, session, folder)
    }
}

/// The same with a session on a second node, which does not spill.
func withSpillingAndReader(
    capacity: UInt64, storage: (String) -> any ExternalStorage = { FilesystemStorage(directories: [$0], owner: "node") },
    _ body: (Node, Session, _ reader: Session, String) async throws -> Void
) async throws {
    try await withSpillingCluster(capacity: capacity, storage: storage) { cluster, node, session, folder in
        let reader = try await Session.connect(socket: cluster.addNode().socketPath)
        do {
            try await body(node, session, reader, folder)
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
    }
}
