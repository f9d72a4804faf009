// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import Testing

@testable import RayStoreCluster

let version = String(cString: ray_version())

func describe(_ id: NodeID = .random(), port: UInt16 = 1) -> NodeDescription {
    NodeDescription(id: id, host: "127.0.0.1", controlPort: port, bulkPort: 2, libraryVersion: version)
}

func object(_ index: UInt32) -> ObjectID {
    var task = ray_task_id_driver(1)
    return ObjectID(c: ray_object_id_make(&task, RAY_FIRST_PUT_INDEX + index))
}

/// Waits for a condition under a deadline far above what it should take.
func eventually(
    _ what: Comment, within limit: Duration = .seconds(60), sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async rethrows {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try? await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("not within \(limit): \(what)", sourceLocation: sourceLocation)
}

/// Expects the code, and gives the error for a look at its message.
@discardableResult
func expectFailure<Value>(
    _ code: RayStoreError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async -> RayStoreError? {
    do {
        let value = try await body()
        Issue.record("expected \(code.name), got \(value)", sourceLocation: sourceLocation)
    } catch let error as RayStoreError {
        #expect(error.code == code, "\(error.code.name): \(error.message)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("expected \(code.name), got \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

func withTemporaryDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("raystore-\(UUID())").path
    try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: directory) }
    return try await body(directory)
}

/// A head without a node: the store and its server.
struct Head {
    let store: EmbeddedControlStore
    let server: ControlServer
    let key: ClusterKey

    /// The nodes of most tests send no heartbeats: unless death is what is tested, silence is allowed to last as long as a slow machine needs.
    static func start(
        path: String? = nil, port: UInt16 = 0, key: ClusterKey = .random(), patience: Duration = .seconds(600)
    ) async throws -> Head {
        var timing = EmbeddedControlStore.Timing()
        timing.deadAfter = patience
        timing.returnWithin = patience * 2.5
        let store = try await EmbeddedControlStore.open(path: path, ownNode: nil, timing: timing)
        do {
            let server = try await ControlServer.start(host: "127.0.0.1", port: port, key: key, control: store)
            return Head(store: store, server: server, key: key)
        } catch {
            await store.close()
            throw error
        }
    }

    var place: HostPort { HostPort(host: "127.0.0.1", port: server.port) }

    func client(key: ClusterKey? = nil) -> RemoteControlStore {
        RemoteControlStore(head: place, key: key ?? self.key, timeouts: .init(call: .seconds(10), heartbeat: .seconds(10)))
    }

    func stop() async {
        await store.close()
        await server.stop()
    }
}

/// A node's side that writes down what it is asked.
final class RecordingPeer: PeerService {
    private let heard_ = Mutex<[(sender: NodeID, request: PeerRequest)]>([])
    private let answer: @Sendable (PeerRequest) async throws(RayStoreError) -> PeerAnswer

    init(_ answer: @escaping @Sendable (PeerRequest) async throws(RayStoreError) -> PeerAnswer = { _ in .done }) {
        self.answer = answer
    }

    var heard: [(sender: NodeID, request: PeerRequest)] { heard_.withLock { $0 } }

    func handle(_ request: PeerRequest, from sender: NodeID) async throws(RayStoreError) -> PeerAnswer {
        heard_.withLock { $0.append((sender, request)) }
        return try await answer(request)
    }
}

/// Collects a stream's events as they come.
actor Listener {
    private(set) var seen: [ClusterEvent] = []
    private(set) var hasEnded = false
    private var task: Task<Void, Never>?

    init(_ events: AsyncStream<ClusterEvent>) async {
        task = Task { await self.listen(events) }
    }

    private func listen(_ events: AsyncStream<ClusterEvent>) async {
        for await event in events { seen.append(event) }
        hasEnded = true
    }

    func stop() {
        task?.cancel()
    }
}
