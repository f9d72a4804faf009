// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import RayStoreNode
internal import Synchronization

/// The head's control store, seen from another node.
final class RemoteControlStore: ControlStore {
    /// How long this end waits.
    struct Timeouts: Sendable {
        var call: Duration = .seconds(5)
        /// A heartbeat that waits longer is no sign of life any more; the next one is due.
        var heartbeat: Duration = .seconds(1)
    }

    private let link: ControlLink
    private let timeouts: Timeouts
    private let streams = Mutex<(isClosed: Bool, open: [UInt64: Task<Void, Never>], next: UInt64)>((false, [:], 0))

    init(head: HostPort, key: ClusterKey, timeouts: Timeouts = Timeouts()) {
        link = ControlLink(to: head, key: key)
        self.timeouts = timeouts
    }

    /// Ends all calls and event streams.
    func close() async {
        let tasks = streams.withLock { streams in
            streams.isClosed = true
            defer { streams.open = [:] }
            return Array(streams.open.values)
        }
        for task in tasks { task.cancel() }
        await link.close()
        for task in tasks { await task.value }
    }

    // MARK: Membership

    func clusterInfo() async throws(RayStoreError) -> ClusterInfo {
        try await call(ControlMethods.cluster, Nothing())
    }

    func join(_ node: NodeDescription) async throws(RayStoreError) -> NodeDescription {
        try await call(ControlMethods.join, node)
    }

    func leave(_ node: NodeID) async throws(RayStoreError) {
        _ = try await call(ControlMethods.leave, node)
    }

    func heartbeat(_ node: NodeID) async throws(RayStoreError) -> Bool {
        try await call(ControlMethods.heartbeat, node, timeout: timeouts.heartbeat)
    }

    func nodes() async throws(RayStoreError) -> [NodeDescription] {
        try await call(ControlMethods.nodes, Nothing())
    }

    func missingNodes() async throws(RayStoreError) -> [NodeID] {
        throw RayStoreError(.unsupported, "only the head \(link.place) knows which nodes are missing")
    }

    // MARK: Jobs and names

    func beginJob(driverNode: NodeID, namespace: String?) async throws(RayStoreError) -> JobRecord {
        try await call(ControlMethods.beginJob, JobRequest(driverNode: driverNode, namespace: namespace))
    }

    func endJob(_ job: JobID) async throws(RayStoreError) {
        _ = try await call(ControlMethods.endJob, job)
    }

    func job(_ job: JobID) async throws(RayStoreError) -> JobRecord? {
        try await call(ControlMethods.job, job).job
    }

    func bind(_ name: String, in namespace: String, to object: ObjectID) async throws(RayStoreError) {
        _ = try await call(ControlMethods.bind, NameRecord(name: name, namespace: namespace, object: object))
    }

    func find(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID {
        try await call(ControlMethods.find, NameRequest(name: name, namespace: namespace))
    }

    func unbind(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID {
        try await call(ControlMethods.unbind, NameRequest(name: name, namespace: namespace))
    }

    func unbindAll(of object: ObjectID) async throws(RayStoreError) {
        _ = try await call(ControlMethods.unbindAll, object)
    }

    func names(in namespace: String?) async throws(RayStoreError) -> [NameRecord] {
        try await call(ControlMethods.names, NamesRequest(namespace: namespace))
    }

    private func call<Request, Answer>(
        _ method: Method<Request, Answer>, _ request: Request, timeout: Duration? = nil
    ) async throws(RayStoreError) -> Answer {
        do throws(RayStoreError) {
            return try await link.call(method, request, timeout: timeout ?? timeouts.call)
        } catch  where error.code == .closed && !streams.withLock({ $0.isClosed }) {
            // The head's store is closed, not this one: the head is on its way down and may come back.
            throw RayStoreError(.unreachable, "the head at \(link.place) is shutting down; start it again")
        }
    }
}

// MARK: - Events

extension RemoteControlStore {
    func events() -> AsyncStream<ClusterEvent> {
        let (stream, continuation) = AsyncStream.makeStream(of: ClusterEvent.self, bufferingPolicy: .unbounded)
        let number: UInt64? = streams.withLock { streams in
            if streams.isClosed { return nil }
            streams.next += 1
            let number = streams.next
            streams.open[number] = Task { [weak self] in
                await self?.listen(continuation)
                continuation.finish()
                self?.streams.withLock { _ = $0.open.removeValue(forKey: number) }
            }
            return number
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.streams.withLock { $0.open.removeValue(forKey: number) }?.cancel()
        }
        return stream
    }

    /// Listens to the head, and again when it comes back, until the stream or the store is closed.
    private func listen(_ continuation: AsyncStream<ClusterEvent>.Continuation) async {
        let known = KnownNodes()
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            let began = ContinuousClock.now
            do throws(RayStoreError) {
                try await link.listen(ControlMethods.events, timeout: timeouts.call) {
                    // Who went while nobody listened is not in the list any more, and the head will not say so again.
                    for node in known.missing(from: try await self.nodes()) { continuation.yield(.nodeGone(node)) }
                } each: { event in
                    known.note(event)
                    continuation.yield(event)
                }
            } catch  where error.code == .keyRefused || error.code == .versionMismatch {
                // It takes a person to change that, so there is no hurry.
                pause = .seconds(5)
            } catch {}
            // A stream that held for a while says that the head was well: look for it again at once.
            if ContinuousClock.now - began > .seconds(1) && pause < .seconds(5) { pause = .milliseconds(100) }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }
}

/// The nodes that a subscriber believes alive.
private final class KnownNodes: Sendable {
    private let nodes = Mutex<Set<NodeID>>([])

    func note(_ event: ClusterEvent) {
        nodes.withLock { nodes in
            switch event {
            case .nodeJoined(let node): nodes.insert(node.id)
            case .nodeGone(let node): nodes.remove(node)
            case .jobEnded: break
            }
        }
    }

    /// Those that are not among the living; they are forgotten.
    func missing(from living: [NodeDescription]) -> [NodeID] {
        nodes.withLock { nodes in
            let gone = nodes.subtracting(living.map(\.id))
            nodes.subtract(gone)
            return gone.sorted { $0.description < $1.description }
        }
    }
}
