// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Logging
public import RayStore

/// The control store that lives in the head node, or in a node that is alone: numbers, jobs and names in a SQLite file, membership in memory.
///
/// A node lives as long as it is heard of. One that is silent for `deadAfter` is given up: its running jobs end, everyone is told, and its
/// next heartbeat is answered with false. The store's own node lives as long as the store does.
public actor EmbeddedControlStore: ControlStore {
    /// When silence means death.
    public struct Timing: Sendable {
        /// A node that was not heard of for this long is given up.
        public var deadAfter: Duration = .seconds(2)
        /// After a restart of the head the nodes of before have this long to be heard of.
        public var returnWithin: Duration = .seconds(5)
        /// How long a node that was given up, and did not leave, may still have its files in the cluster's storage.
        public var missingFor: Duration = .seconds(3600)

        public init() {}

        /// How often the store looks for silent nodes.
        var lookEvery: Duration { deadAfter / 20 }
    }

    /// Nil once the store is closed.
    private var database: ControlDatabase?
    private let cluster = ClusterEvents()
    private let ownNode: NodeID?
    private let timing: Timing
    private let clock: any NodeClock
    private let clusterStorage: String?
    private let libraryVersion: String
    private let log = Logger(label: "raystore.control")
    private let executor = StoreExecutor(label: "raystore.control")
    /// Until when each living node must be heard of. The store's own is not in it.
    private var deadlines: [NodeID: Duration] = [:]
    /// Since when each node that was given up for its silence is missing; from before this store's beginning on: since that.
    private var missing: [NodeID: Duration] = [:]
    private var lastLook = Duration.zero
    private var watch: Task<Void, Never>?

    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens the store.
    ///
    /// - Parameters:
    ///   - path: the SQLite file, made if missing; nil for a store in memory.
    ///   - ownNode: the node in whose process the store is.
    ///   - clusterStorage: the storage that the cluster's nodes have together; nil for none.
    ///   - libraryVersion: what nodes must have in its first two numbers; the library's own in general.
    /// - Throws: `inUse` when another head has the file open; `layoutMismatch`, `corrupt`, `outOfDisk` or `system` naming the file.
    public static func open(
        path: String?, ownNode: NodeID?, timing: Timing = Timing(), clock: any NodeClock = SystemClock(),
        clusterStorage: String? = nil, libraryVersion: String? = nil
    ) async throws(RayStoreError) -> EmbeddedControlStore {
        let store = EmbeddedControlStore(
            ownNode: ownNode, timing: timing, clock: clock, clusterStorage: clusterStorage,
            libraryVersion: libraryVersion ?? String(cString: ray_version()))
        try await store.begin(path)
        return store
    }

    private init(
        ownNode: NodeID?, timing: Timing, clock: any NodeClock, clusterStorage: String?, libraryVersion: String
    ) {
        self.clusterStorage = clusterStorage
        self.ownNode = ownNode
        self.timing = timing
        self.clock = clock
        self.libraryVersion = libraryVersion
    }

    /// Takes over what the head before this one left: its own node is dead for certain, the others get time to be heard of.
    private func begin(_ path: String?) throws(RayStoreError) {
        let opened = try ControlDatabase(path: path)
        lastLook = clock.now
        for (node, isOwn) in try opened.lastLiving() where node.id != ownNode {
            if isOwn {
                _ = try opened.giveUp(node.id, isMissing: false)
            } else {
                deadlines[node.id] = clock.now + timing.returnWithin
                cluster.publish(.nodeJoined(node))
            }
        }
        for node in try opened.missingNodes() { missing[node] = clock.now }
        database = opened
        watch = Task { [weak self, clock, timing] in
            while (try? await clock.sleep(for: timing.lookEvery)) != nil {
                guard let self else { return }
                await self.look()
            }
        }
    }

    /// Ends all event streams and lets go of the file. Calls after it throw `closed`.
    public func close() {
        watch?.cancel()
        watch = nil
        cluster.close()
        database?.close()
        database = nil
    }

    deinit {
        watch?.cancel()
        cluster.close()
    }

    private func opened() throws(RayStoreError) -> ControlDatabase {
        guard let database else { throw RayStoreError(.closed, "the control store is closed") }
        return database
    }

    /// How many event streams are open, for tests.
    package nonisolated var subscriberCount: Int { cluster.subscriberCount }
}

// MARK: - Membership

extension EmbeddedControlStore {
    public func clusterInfo() throws(RayStoreError) -> ClusterInfo {
        ClusterInfo(session: try opened().session(), storage: clusterStorage)
    }

    public func join(_ node: NodeDescription) throws(RayStoreError) -> NodeDescription {
        guard Self.agree(node.libraryVersion, libraryVersion) else {
            throw RayStoreError(
                .versionMismatch,
                "node \(node.id.short) at \(node.host) runs version \(node.libraryVersion), the cluster runs \(libraryVersion); install the same version on both"
            )
        }
        let joined = try opened().join(node, isOwn: node.id == ownNode)
        if node.id != ownNode { deadlines[node.id] = clock.now + timing.deadAfter }
        missing[node.id] = nil
        cluster.publish(.nodeJoined(joined))
        return joined
    }

    public func leave(_ node: NodeID) throws(RayStoreError) {
        if cluster.isLiving(node) {
            try giveUp(node, isMissing: false)
        } else if missing.removeValue(forKey: node) != nil {
            // It was cut off, and has ended in good order all the same.
            _ = try opened().giveUp(node, isMissing: false)
        }
    }

    public func heartbeat(_ node: NodeID) throws(RayStoreError) -> Bool {
        _ = try opened()
        guard cluster.isLiving(node) else { return false }
        if node != ownNode { deadlines[node] = clock.now + timing.deadAfter }
        return true
    }

    public func nodes() throws(RayStoreError) -> [NodeDescription] {
        _ = try opened()
        return cluster.living
    }

    public func missingNodes() throws(RayStoreError) -> [NodeID] {
        let database = try opened()
        for (node, since) in missing where clock.now - since >= timing.missingFor {
            try database.forgetMissing(node)
            missing[node] = nil
        }
        return missing.keys.sorted { $0.description < $1.description }
    }

    public nonisolated func events() -> AsyncStream<ClusterEvent> {
        cluster.subscribe()
    }

    /// Gives up the nodes that were silent for too long.
    package func look() {
        let now = clock.now
        // While this process was stopped, or starved of a processor, or its machine slept, it heard of nobody: that is its own silence
        // and not the nodes'.
        let stoodStill = now - lastLook - timing.lookEvery
        lastLook = now
        if stoodStill > timing.lookEvery {
            for node in deadlines.keys { deadlines[node]! += stoodStill }
        }
        for (node, deadline) in deadlines where deadline <= now {
            do throws(RayStoreError) {
                try lose(node)
            } catch {
                // The next look tries again: the node is still in the list.
                log.debug("cannot give up a node", metadata: ["node": "\(node.short)", "reason": "\(error.message)"])
            }
        }
    }

    /// Gives up a node that was not heard of.
    package func lose(_ node: NodeID) throws(RayStoreError) {
        try giveUp(node, isMissing: true)
    }

    private func giveUp(_ node: NodeID, isMissing: Bool) throws(RayStoreError) {
        let jobs = try opened().giveUp(node, isMissing: isMissing)
        deadlines[node] = nil
        missing[node] = isMissing ? clock.now : nil
        cluster.publish(.nodeGone(node))
        for job in jobs { cluster.publish(.jobEnded(job)) }
    }

    /// Versions speak with each other when their first two numbers are the same.
    private static func agree(_ one: String, _ other: String) -> Bool {
        func key(_ version: String) -> [Substring] { Array(version.split(separator: ".").prefix(2)) }
        return key(one) == key(other)
    }
}

// MARK: - Jobs and names

extension EmbeddedControlStore {
    public func beginJob(driverNode: NodeID, namespace: String?) throws(RayStoreError) -> JobRecord {
        if let namespace {
            try NameRules.check(namespace, .namespace)
            if NameRules.isPrivate(namespace) {
                throw RayStoreError(
                    .invalidArgument,
                    "the namespace '\(namespace)' is kept for one job that asked for none; choose another")
            }
        }
        guard cluster.isLiving(driverNode) else {
            throw RayStoreError(.nodeDied, "node \(driverNode.short) is not in the cluster; it must join before its jobs begin")
        }
        return try opened().beginJob(driverNode: driverNode, namespace: namespace)
    }

    public func endJob(_ job: JobID) throws(RayStoreError) {
        switch try opened().endJob(job) {
        case true: cluster.publish(.jobEnded(job))
        case false: break
        default: throw RayStoreError(.notFound, "there is no job \(job)")
        }
    }

    public func job(_ job: JobID) throws(RayStoreError) -> JobRecord? {
        try opened().job(job)
    }

    public func bind(_ name: String, in namespace: String, to object: ObjectID) throws(RayStoreError) {
        try NameRules.check(name, .name)
        try NameRules.check(namespace, .namespace)
        try opened().bind(name, in: namespace, to: object)
    }

    public func find(_ name: String, in namespace: String) throws(RayStoreError) -> ObjectID {
        try opened().find(name, in: namespace)
    }

    public func unbind(_ name: String, in namespace: String) throws(RayStoreError) -> ObjectID {
        try opened().unbind(name, in: namespace)
    }

    public func unbindAll(of object: ObjectID) throws(RayStoreError) {
        try opened().unbindAll(of: object)
    }

    public func names(in namespace: String?) throws(RayStoreError) -> [NameRecord] {
        try opened().names(in: namespace)
    }
}
