// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Foundation
import Synchronization

@testable import RayStore

/// A node of one machine in the test's process: a real store and a real host, with just enough behind them to answer a client. What
/// reaches it is recorded, and an answer can be replaced by the test's own.
///
/// A test stops it before it ends (`defer { node.stop() }`), so that no callback meets a node that is going.
///
/// @unchecked: the C handles may be used by any thread; the rest is guarded by a mutex.
final class TestNode: @unchecked Sendable {
    struct Request: Sendable {
        let client: UInt64
        let id: UInt64
        let kind: NodeRequest
        let payload: [UInt8]
    }

    struct Answer: Sendable {
        var status: ray_status = .ok
        var message = ""
        var payload: [UInt8] = []

        static let done = Answer()
    }

    private struct State {
        var slots: [UInt64: UInt32] = [:]
        var nextJob: UInt32 = 1
        var serial: UInt32 = 0
        var attached: [(job: UInt32, namespace: String)] = []
        var requests: [Request] = []
        var cancelled: Set<UInt64> = []
        var detached: [UInt64] = []
        var names: [String: ObjectID] = [:]
        var overrides: [NodeRequest: @Sendable (Request) async -> Answer?] = [:]
        var isStopped = false
    }

    let socketPath: String
    private let directory: String
    let store: OpaquePointer
    private let state = Mutex(State())
    private let hostBox = Mutex<UInt>(0)

    private var host: OpaquePointer { OpaquePointer(bitPattern: hostBox.withLock { $0 })! }

    init(capacity: Int = 64 << 20) throws {
        directory = "\(temporaryFolder())/raystore-test-\(UInt32.random(in: 0...UInt32.max))"
        socketPath = directory + "/node.sock"
        var options = ray_store_options(
            struct_size: UInt32(MemoryLayout<ray_store_options>.size), entry_count_max: 0, capacity_bytes: UInt64(capacity))
        var made: OpaquePointer?
        try RayStoreError.check { ray_store_create(&options, &made).rawValue }
        store = made!
        try startHost()
    }

    private func startHost() throws {
        var started: OpaquePointer?
        let callbacks = ray_host_callbacks(
            attached: { context, client, request in
                TestNode.at(context).attached(client, request.pointee)
            },
            requested: { context, client, id, kind, payload, size in
                let bytes = Array(UnsafeRawBufferPointer(start: payload, count: size))
                TestNode.at(context).requested(
                    Request(client: client, id: id, kind: NodeRequest(rawValue: kind), payload: bytes))
            },
            cancelled: { context, _, id in
                TestNode.at(context).state.withLock { _ = $0.cancelled.insert(id) }
            },
            detached: { context, client, _ in
                TestNode.at(context).state.withLock { $0.detached.append(client) }
            })
        try socketPath.withCString { path in
            var options = ray_host_options(
                struct_size: UInt32(MemoryLayout<ray_host_options>.size), socket_path: path, store: store,
                callbacks: callbacks, context: Unmanaged.passUnretained(self).toOpaque(),
                reader_socket_path: nil, reader_uids: nil, reader_uid_count: 0, reader_count_max: 0)
            // Nobody connects before the path is known, so the callbacks find the host.
            try RayStoreError.check { ray_host_start(&options, &started).rawValue }
        }
        hostBox.withLock { $0 = UInt(bitPattern: started) }
    }

    private static func at(_ context: UnsafeMutableRawPointer?) -> TestNode {
        Unmanaged<TestNode>.fromOpaque(context!).takeUnretainedValue()
    }

    /// Ends the node; sessions that are still open notice.
    func stop() {
        let isFirst = state.withLock { state in
            defer { state.isStopped = true }
            return !state.isStopped
        }
        guard isFirst else { return }
        ray_host_stop(host)
    }

    deinit {
        stop()
        ray_store_close(store)
        rmdir(directory)
    }

    func connect(job: JobID? = nil, namespace: String? = nil) async throws -> Session {
        try await Session.connect(socket: socketPath, job: job, namespace: namespace)
    }

    // ---- what the test sees and decides ----

    var attachments: [(job: UInt32, namespace: String)] { state.withLock { $0.attached } }

    func requests(_ kind: NodeRequest) -> [Request] {
        state.withLock { $0.requests.filter { $0.kind == kind } }
    }

    var cancelledCount: Int { state.withLock { $0.cancelled.count } }

    var detachedCount: Int { state.withLock { $0.detached.count } }

    /// Answers such requests from now on; nil from the body leaves the answer to the node.
    func answer(_ kind: NodeRequest, _ body: @escaping @Sendable (Request) async -> Answer?) {
        state.withLock { $0.overrides[kind] = body }
    }

    func progress(_ request: Request, of id: ObjectID, _ progress: ray_transfer_progress) {
        var progress = progress
        id.withC { ray_host_progress(host, request.client, request.id, &$0, &progress) }
    }

    /// Seals an object in the node's store, as the node does with what it has fetched.
    func seal(_ id: ObjectID, data: [UInt8], metadata: [UInt8] = []) throws {
        try RayStoreError.check {
            id.withC { ray_object_put(store, &$0, data, UInt64(data.count), metadata, UInt32(metadata.count), 0) }.rawValue
        }
    }

    func info(_ id: ObjectID) -> ray_object_info? {
        var info = ray_object_info()
        return id.withC { ray_object_stat(store, &$0, &info) } == .ok ? info : nil
    }

    /// The pinned bytes of the whole store.
    var pinnedBytes: Int {
        var stats = ray_store_stats()
        stats.struct_size = UInt32(MemoryLayout<ray_store_stats>.size)
        return ray_store_stats_read(store, &stats) == .ok ? Int(stats.pinned_bytes) : -1
    }

    // ---- serving ----

    private func attached(_ client: UInt64, _ request: ray_attach_request) {
        let namespace = String(cString: request.name_space)
        let (job, serial) = state.withLock { state in
            state.slots[client] = request.slot
            state.attached.append((request.job, namespace))
            state.serial += 1
            if request.job == 0 { state.nextJob += 1 }
            return (request.job == 0 ? state.nextJob - 1 : request.job, state.serial)
        }
        var info = ray_session_info()
        info.job = job
        info.node_number = 1
        info.slot = request.slot
        info.is_driver = request.job == 0
        info.task = request.job == 0 ? ray_task_id_driver(job) : ray_task_id_session(job, 1, serial)
        withUnsafeMutableBytes(of: &info.node_id) { raw in
            for index in raw.indices { raw[index] = 0xab }
        }
        if job == 666 {
            ray_host_refuse(host, client, .invalidArgument, "job 666 has ended")
        } else {
            ray_host_welcome(host, client, &info)
        }
    }

    private func requested(_ request: Request) {
        let override = state.withLock { state in
            state.requests.append(request)
            return state.overrides[request.kind]
        }
        // Weak: an answer that a test holds back must not keep the node.
        Task { [weak self] in
            var answer = await override?(request)
            guard let self else { return }
            if answer == nil { answer = await serve(request) }
            reply(request, answer!)
        }
    }

    private func reply(_ request: Request, _ answer: Answer) {
        let isStopped = state.withLock { $0.isStopped }
        guard !isStopped else { return }
        ray_host_reply(
            host, request.client, request.id, answer.status, answer.message, answer.payload, answer.payload.count)
    }

    private func serve(_ request: Request) async -> Answer {
        var payload = PayloadReader(request.payload)
        switch request.kind {
        case .get:
            let timeout = payload.integer(UInt64.self)!
            let ids = self.ids(&payload)
            return await untilReady(ids, wanted: ids.count, timeout: timeout, request, isWait: false)
        case .wait:
            let timeout = payload.integer(UInt64.self)!
            let wanted = Int(payload.integer(UInt32.self)!)
            _ = payload.integer(UInt32.self)!
            return await untilReady(ids(&payload), wanted: wanted, timeout: timeout, request, isWait: true)
        case .openRef:
            let slot = state.withLock { $0.slots[request.client]! }
            let status = payload.id()!.withC { ray_node_ref_for(store, &$0, slot, 0) }
            return Answer(status: status, message: status == .ok ? "" : "there is no such object")
        case .contain:
            _ = payload.id()
            for id in ids(&payload) {
                var adopted: UInt32 = 0
                let status = id.withC { ray_node_adopt(store, &$0, &adopted) }
                guard status == .ok else { return Answer(status: status, message: "cannot hold \(id)") }
            }
            return .done
        case .free:
            for id in ids(&payload) {
                _ = id.withC { ray_object_delete(store, &$0, .objectFreed) }
            }
            return .done
        case .putFile:
            return putFile(&payload, request)
        case .bindName:
            let id = payload.id()!
            let name = payload.text()!
            return state.withLock { state in
                if state.names[name] != nil { return Answer(status: .nameInUse, message: "'\(name)' is in use") }
                state.names[name] = id
                return .done
            }
        case .findName, .unbindName:
            let name = payload.text()!
            return state.withLock { state in
                guard let id = state.names[name] else {
                    return Answer(status: .nameUnknown, message: "no object has the name '\(name)'")
                }
                if request.kind == .unbindName { state.names[name] = nil }
                return Answer(payload: id.bytes)
            }
        case .report:
            return Answer(payload: Array("\(payload.text()!) \(payload.text()!)".utf8))
        case .shareRef, .detach, .remove:
            return .done
        default:
            return Answer(status: .unsupported, message: "unknown request")
        }
    }

    private func ids(_ payload: inout PayloadReader) -> [ObjectID] {
        (0..<payload.integer(UInt32.self)!).map { _ in payload.id()! }
    }

    private func untilReady(
        _ ids: [ObjectID], wanted: Int, timeout: UInt64, _ request: Request, isWait: Bool
    ) async -> Answer {
        let list = ids.map { id in id.withC { $0 } }
        let deadline = ContinuousClock.now + .nanoseconds(Int64(clamping: timeout))
        var ready = [UInt8](repeating: 0, count: ids.count)
        while true {
            let isCancelled = state.withLock { $0.cancelled.contains(request.id) || $0.isStopped }
            if isCancelled { return Answer(status: .cancelled, message: "given up") }
            // In slices, so that a cancellation is seen.
            let (status, now) = try! await runBlocking { [self] () throws(RayStoreError) in
                var ready = [UInt8](repeating: 0, count: list.count)
                var count: UInt32 = 0
                let status = ray_object_wait(store, list, UInt32(list.count), UInt32(wanted), 5_000_000, &ready, &count)
                return (status, ready)
            }
            ready = now
            if status == .ok { return Answer(payload: isWait ? ready : []) }
            if status != .timedOut { return Answer(status: status, message: "the wait failed") }
            if ContinuousClock.now >= deadline { break }
        }
        return isWait ? Answer(payload: ready) : Answer(status: .timedOut, message: "time is up", payload: ids[0].bytes)
    }

    private func putFile(_ payload: inout PayloadReader, _ request: Request) -> Answer {
        _ = payload.integer(UInt32.self)
        _ = payload.integer(UInt32.self)
        let id = payload.id()!
        let path = payload.text()!
        var info = ray_file_info()
        let looked = ray_file_look(path, &info)
        guard looked == .ok else { return Answer(status: looked, message: String(cString: ray_last_error_message())) }
        let name = String(path.split(separator: "/").last!)
        let (nameLength, pathLength) = (name.utf8.count, path.utf8.count)
        var bytes = [UInt8](repeating: 0, count: 8192)
        var size = 0
        let status = name.withCString { name in
            path.withCString { path in
                var descriptor = ray_file_descriptor(
                    size_bytes: info.size_bytes, mtime_ns: info.mtime_ns, mode: info.mode, flags: UInt32(RAY_FILE_REFERENCE),
                    name: name, path: path, name_length: UInt32(nameLength), path_length: UInt32(pathLength))
                return ray_file_descriptor_encode(&descriptor, &bytes, bytes.count, &size)
            }
        }
        guard status == .ok else { return Answer(status: status, message: String(cString: ray_last_error_message())) }
        do {
            try seal(id, data: Array(bytes[..<size]), metadata: ValueMetadata.file.encoded)
        } catch {
            return Answer(status: .system, message: "\(error)")
        }
        let slot = state.withLock { $0.slots[request.client]! }
        return Answer(status: id.withC { ray_node_ref_for(store, &$0, slot, 0) })
    }
}

extension RayStoreError: CodedError {
    var codeName: String { code.name }
}

extension TestNode {
    private var stats: ray_store_stats {
        var stats = ray_store_stats()
        stats.struct_size = UInt32(MemoryLayout<ray_store_stats>.size)
        _ = ray_store_stats_read(store, &stats)
        return stats
    }

    var entryCount: Int { Int(stats.entry_count) }

    var usedBytes: Int { Int(stats.used_bytes) }
}
