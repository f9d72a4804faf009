// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Logging
internal import RayStore
internal import Synchronization

/// Serves the node's clients: admits their sessions, and turns each request into work for the node's rooms.
///
/// Every request is a task of its own, so a get that waits holds up nothing. A client that goes takes its tasks along.
final class ClientDesk: ClientHostDelegate {
    private struct Session: Sendable {
        let slot: ClientSlot
        let job: JobID
        let namespace: String
        let isDriver: Bool
        var tasks: [UInt64: Task<Void, Never>] = [:]
    }

    private struct State {
        var host: ClientHost?
        var sessions: [UInt64: Session] = [:]
        /// Clients that ended before they were admitted.
        var early: Set<UInt64> = []
    }

    private let rooms: NodeRooms
    private let state = Mutex(State())
    private let reaped = Atomic<UInt64>(0)

    init(rooms: NodeRooms) {
        self.rooms = rooms
    }

    func open(socketPath: String, readers: ReaderOptions?) throws(RayStoreError) {
        let host = try ClientHost(socketPath: socketPath, readers: readers, store: rooms.store, delegate: self)
        state.withLock { $0.host = host }
    }

    /// Ends every session. Blocks on the host's thread.
    func close() {
        let host = state.withLock { state in
            defer { state.host = nil }
            return state.host
        }
        host?.stop()
    }

    /// Clients that are gone and whose slots are reaped.
    var reapedCount: UInt64 { reaped.load(ordering: .relaxed) }

    var sessionCount: Int {
        state.withLock { $0.sessions.count }
    }

    private var host: ClientHost? {
        state.withLock { $0.host }
    }

    // MARK: Sessions

    func attached(_ client: UInt64, _ attach: ClientAttach) {
        Task {
            do throws(RayStoreError) {
                try await admit(client, attach)
            } catch {
                host?.refuse(client, error)
            }
        }
    }

    private func admit(_ client: UInt64, _ attach: ClientAttach) async throws(RayStoreError) {
        let job: JobID
        let namespace: String
        let task: ray_task_id
        switch attach.job {
        case nil:
            let record = try await rooms.jobs.begin(namespace: attach.namespace)
            (job, namespace) = (record.job, attach.namespace ?? record.namespace)
            task = ray_task_id_driver(job.rawValue)
        case JobID.none?:
            (job, namespace) = (.none, attach.namespace ?? "")
            task = ray_task_id()
        case let running?:
            let record = try await rooms.jobs.join(running)
            (job, namespace) = (running, attach.namespace ?? record.namespace)
            task = ray_task_id_session(job.rawValue, rooms.description.number, await rooms.jobs.takeSerial())
        }
        let isDriver = attach.job == nil
        let session = Session(slot: attach.slot, job: job, namespace: namespace, isDriver: isDriver)
        let isGone = state.withLock { state in
            if state.early.remove(client) != nil { return true }
            state.sessions[client] = session
            return false
        }
        if isGone {
            if isDriver { try await rooms.jobs.end(job) }
            return
        }
        host?.welcome(client, slot: attach.slot, job: job, task: task, isDriver: isDriver, node: rooms.description)
    }

    func detached(_ client: UInt64) {
        reaped.add(1, ordering: .relaxed)
        let session = state.withLock { state in
            let session = state.sessions.removeValue(forKey: client)
            if session == nil { state.early.insert(client) }
            return session
        }
        guard let session else { return }
        for task in session.tasks.values { task.cancel() }
        Task {
            await rooms.ownership.endSession(client)
            guard session.isDriver else { return }
            await rooms.ownership.jobEnded(session.job)
            do throws(RayStoreError) {
                try await rooms.jobs.end(session.job)
            } catch {
                // The head ends it when it misses this node; nothing here depends on that.
                rooms.log.warning("a job's end was not told", metadata: ["job": "\(session.job)", "reason": "\(error.message)"])
            }
        }
    }

    // MARK: Requests

    func requested(_ client: UInt64, requestID: UInt64, kind: UInt16, payload: [UInt8]) {
        state.withLock { state in
            guard let session = state.sessions[client] else { return }
            state.sessions[client]!.tasks[requestID] = Task {
                let result: Result<[UInt8], RayStoreError>
                do throws(RayStoreError) {
                    result = .success(try await serve(kind, payload, client: client, requestID: requestID, session))
                } catch {
                    result = .failure(error)
                }
                let host = self.state.withLock { state in
                    state.sessions[client]?.tasks[requestID] = nil
                    return state.host
                }
                host?.reply(client, requestID, result)
            }
        }
    }

    func cancelled(_ client: UInt64, requestID: UInt64) {
        state.withLock { $0.sessions[client]?.tasks[requestID] }?.cancel()
    }

    private func serve(
        _ kind: UInt16, _ bytes: [UInt8], client: UInt64, requestID: UInt64, _ session: Session
    ) async throws(RayStoreError) -> [UInt8] {
        var payload = RequestPayload(bytes)
        let ownership = rooms.ownership
        switch Int(kind) {
        case Int(RAY_REQUEST_GET):
            let timeout = try payload.integer(UInt64.self)
            let ids = try payload.ids()
            try await get(ids, timeout: timeout, tuning: try payload.tuning(.get), for: session.slot) {
                [weak self] id, progress in
                self?.host?.progress(client, requestID, of: id, progress)
            }
        case Int(RAY_REQUEST_WAIT):
            let timeout = try payload.integer(UInt64.self)
            let wanted = Int(try payload.integer(UInt32.self))
            let flags = try payload.integer(UInt32.self)
            let ids = try payload.ids()
            return try await wait(
                ids, wanted: wanted, fetches: flags & UInt32(RAY_WAIT_FETCH) != 0, timeout: timeout,
                tuning: try payload.tuning(.wait), for: session.slot)
        case Int(RAY_REQUEST_READ):
            return try await read(&payload, session) { [weak self] id, progress in
                self?.host?.progress(client, requestID, of: id, progress)
            }
        case Int(RAY_REQUEST_CREATE):
            return try await create(&payload, session)
        case Int(RAY_REQUEST_PREFETCH):
            try await prefetch(&payload)
        case Int(RAY_REQUEST_SUMS):
            let (id, value, size) = (try payload.id(), try payload.integer(UInt64.self), try payload.integer(UInt64.self))
            try rooms.transfer.give(try payload.words(), ofObject: id, value: value, size: size)
        case Int(RAY_REQUEST_OPEN_REF):
            try await ownership.open(try payload.id(), for: session.slot)
        case Int(RAY_REQUEST_SHARE_REF):
            try await ownership.share(try payload.id(), session: client)
        case Int(RAY_REQUEST_CONTAIN):
            let outer = try payload.id()
            try await ownership.contain(outer, try payload.ids())
        case Int(RAY_REQUEST_FREE):
            try await ownership.free(try payload.ids())
        case Int(RAY_REQUEST_PUT_FILE):
            try await putFile(&payload, session)
        case Int(RAY_REQUEST_DETACH):
            try await ownership.setDetached(try payload.id(), true)
        case Int(RAY_REQUEST_REMOVE):
            try await ownership.setDetached(try payload.id(), false)
        case Int(RAY_REQUEST_BIND_NAME):
            let id = try payload.id()
            try await ownership.bind(id, to: try payload.text(), in: session.namespace)
        case Int(RAY_REQUEST_FIND_NAME):
            return try await rooms.control.find(try payload.text(), in: session.namespace).bytes
        case Int(RAY_REQUEST_UNBIND_NAME):
            return try await rooms.control.unbind(try payload.text(), in: session.namespace).bytes
        case Int(RAY_REQUEST_REPORT):
            let what = try payload.text()
            return Array(try await rooms.reports.answer(what, arguments: try payload.text(), namespace: session.namespace).utf8)
        case Int(RAY_REQUEST_STOP):
            _ = try payload.integer(UInt32.self)  // flags, of which there are none yet
            rooms.stopRequested.fire()
        default:
            throw RayStoreError(
                .unsupported, "this node does not know request \(kind); the client is of a later version, update the node")
        }
        return []
    }

    /// What found no room in shared memory. The client accepts it when it has the answer; one that has gone is reaped with it.
    private func create(_ payload: inout RequestPayload, _ session: Session) async throws(RayStoreError) -> [UInt8] {
        let timeout = try payload.integer(UInt64.self)
        let dataSize = try payload.integer(UInt64.self)
        let metadataSize = try payload.integer(UInt32.self)
        let flags = try payload.integer(UInt32.self)
        let id = try payload.id()
        guard flags == UInt32(RAY_CREATE_WITH_REF) else {
            throw RayStoreError(.invalidArgument, "\(flags) are not the flags of a create that waits", object: id)
        }
        try await rooms.room.create(
            RoomRequest(
                id: id, dataSize: dataSize, metadataSize: metadataSize, client: session.slot,
                limit: limit(of: timeout)))
        return id.bytes
    }

    private func putFile(_ payload: inout RequestPayload, _ session: Session) async throws(RayStoreError) {
        let mode = try payload.integer(UInt32.self)
        _ = try payload.integer(UInt32.self)
        let id = try payload.id()
        let path = try payload.text()
        let origin: FileStore.Origin
        switch Int(mode) {
        case Int(RAY_FILE_COPY): origin = .copy
        case Int(RAY_FILE_REFERENCE): origin = .reference
        case Int(RAY_FILE_ADOPT): origin = .adopted
        default: throw RayStoreError(.invalidArgument, "\(mode) is not a way to put a file")
        }
        guard id.job == session.job else {
            throw RayStoreError(.invalidArgument, "object \(id) is not of this session's job \(session.job)", object: id)
        }
        guard path.hasPrefix("/") else {
            throw RayStoreError(
                .invalidArgument, "the path '\(path)' is not absolute: the node may have another working directory")
        }
        _ = try await rooms.files.take(path, as: origin, for: id)
        try await rooms.ownership.addFile(id, for: session.slot)
    }

    // MARK: get, read, prefetch and wait

    private func prefetch(_ payload: inout RequestPayload) async throws(RayStoreError) {
        let timeout = try payload.integer(UInt64.self)
        let flags = try payload.integer(UInt32.self)
        _ = try payload.integer(UInt32.self)
        let time = try payload.integer(UInt64.self)
        let id = try payload.id()
        let text = try payload.text()
        let tuning = try payload.tuning(.prefetch)
        guard let node = text.isEmpty ? rooms.description.id : NodeID(text) else {
            throw RayStoreError(.invalidArgument, "'\(text)' is not a node's id: 56 hex digits are")
        }
        let prefetching = rooms.prefetching
        guard flags & UInt32(RAY_PREFETCH_END) == 0 else { return try await prefetching.end(id, on: node) }
        try await withTimeout(timeout, clock: rooms.clock) { () async throws(RayStoreError) in
            try await prefetching.begin(
                id, on: node, keepingFor: time == 0 ? .seconds(600) : .nanoseconds(Int64(clamping: time)), tuning: tuning)
            if flags & UInt32(RAY_PREFETCH_WAIT) != 0 { try await prefetching.awaitEnd(of: id, on: node) }
        } orThrow: { _ in
            RayStoreError(.timedOut, "object \(id) did not arrive on node \(node.short) in time", object: id)
        }
    }

    private func read(
        _ payload: inout RequestPayload, _ session: Session,
        observer: @escaping @Sendable (ObjectID, ray_transfer_progress) -> Void
    ) async throws(RayStoreError) -> [UInt8] {
        let timeout = try payload.integer(UInt64.self)
        let range = ByteRange(offset: try payload.integer(), size: try payload.integer())
        let id = try payload.id()
        let tuning = try payload.tuning(.get)
        let ownership = rooms.ownership
        let part = Mutex(FetchedPart?.none)
        let urgency = PullUrgency(tuning.urgency ?? .get)
        do throws(RayStoreError) {
            try await withTimeout(timeout, clock: rooms.clock) { () async throws(RayStoreError) in
                let fetched = try await ownership.read(
                    range, of: id, for: session.slot, tuning: tuning, urgency: urgency
                ) { observer(id, $0) }
                part.withLock { $0 = fetched }
            } orThrow: { _ in
                RayStoreError(
                    .timedOut, WaitReason.append(urgency.hindrance, to: "the part of \(id) did not arrive in time"), object: id)
            }
        } catch {
            // What came in the last moment is the client's already, so it is told.
            guard part.withLock({ $0 != nil }) else { throw error }
        }
        return (part.withLock { $0 } ?? .isHere).answer
    }

    private func get(
        _ ids: [ObjectID], timeout: UInt64, tuning: TransferTuning, for asker: ClientSlot,
        observer: @escaping @Sendable (ObjectID, ray_transfer_progress) -> Void
    ) async throws(RayStoreError) {
        let ownership = rooms.ownership
        let limit = limit(of: timeout)
        try await withTimeout(timeout, clock: rooms.clock) { () async throws(RayStoreError) in
            try await gather(ids) { (id) async throws(RayStoreError) in
                try await ownership.makeLocal(id, lingering: false, tuning: tuning, for: asker, limit: limit) { observer(id, $0) }
            }
        } orThrow: { cancelled in
            let missing = ids.filter { self.rooms.store.entry(of: $0)?.state != .sealed }
            let named = missing.prefix(3).map(\.description).joined(separator: ", ") + (missing.count > 3 ? ", ..." : "")
            let message = "\(missing.count) of \(ids.count) objects did not arrive in time: \(named)"
            // What it waited for, where something held it up.
            return RayStoreError(
                .timedOut, WaitReason.append(cancelled.flatMap(WaitReason.of), to: message), object: missing.first)
        }
    }

    private func wait(
        _ ids: [ObjectID], wanted: Int, fetches: Bool, timeout: UInt64, tuning: TransferTuning, for asker: ClientSlot
    ) async throws(RayStoreError) -> [UInt8] {
        guard wanted >= 1, wanted <= ids.count else {
            throw RayStoreError(.invalidArgument, "waiting for \(wanted) of \(ids.count) objects is not possible")
        }
        let ownership = rooms.ownership
        let limit = limit(of: timeout)
        let clock = rooms.clock
        return await withTaskGroup(of: WaitStep.self) { group in
            for (index, id) in ids.enumerated() {
                group.addTask {
                    do throws(RayStoreError) {
                        if fetches {
                            try await ownership.makeLocal(
                                id, lingering: true, tuning: tuning, for: asker, limit: limit, observer: nil)
                        } else {
                            while !(try await ownership.isAvailable(id)) {
                                try? await clock.sleep(for: .milliseconds(20))
                                if Task.isCancelled { return .givenUp }
                            }
                        }
                    } catch {
                        // What failed is ready too: its get answers at once.
                        if error.code == .cancelled { return .givenUp }
                    }
                    return .ready(index)
                }
            }
            if let limit {
                group.addTask {
                    try? await clock.sleep(for: limit)
                    return .timeIsUp
                }
            }
            var ready = [UInt8](repeating: 0, count: ids.count)
            var readyCount = 0
            for await step in group {
                switch step {
                case .ready(let index):
                    ready[index] = 1
                    readyCount += 1
                case .timeIsUp, .givenUp:
                    group.cancelAll()
                }
                if readyCount >= wanted { group.cancelAll() }
            }
            return ready
        }
    }
}

/// What one of the tasks of a wait found.
private enum WaitStep: Sendable {
    case ready(Int)
    case timeIsUp
    case givenUp
}

/// Runs one piece of work for each id, all at once, and throws the first failure.
private func gather(
    _ ids: [ObjectID], _ work: @escaping @Sendable (ObjectID) async throws(RayStoreError) -> Void
) async throws(RayStoreError) {
    if ids.count == 1 {
        try await work(ids[0])
        return
    }
    let failure = await withTaskGroup(of: RayStoreError?.self) { group in
        for id in ids {
            group.addTask {
                do throws(RayStoreError) {
                    try await work(id)
                    return nil
                } catch {
                    return error
                }
            }
        }
        for await failure in group {
            if let failure {
                group.cancelAll()
                return failure as RayStoreError?
            }
        }
        return nil
    }
    if let failure { throw failure }
}
