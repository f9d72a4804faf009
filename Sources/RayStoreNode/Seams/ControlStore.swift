// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// What a cluster remembers in one place: its nodes, jobs and names. Never what objects are: their owners know that.
///
/// One implementation is embedded in the head node; other nodes reach it over the network. All calls may be repeated.
public protocol ControlStore: Sendable {
    /// What a node is told beside its joining. A node whose storage depends on it asks before.
    ///
    /// - Throws: `unreachable` when the head cannot be reached.
    func clusterInfo() async throws(RayStoreError) -> ClusterInfo

    /// Adds a node, or finds it again by its id, and gives it its number.
    ///
    /// - Throws: `versionMismatch` naming both versions; `unreachable` when the head cannot be reached.
    func join(_ node: NodeDescription) async throws(RayStoreError) -> NodeDescription

    /// Takes a node out that ends in good order.
    func leave(_ node: NodeID) async throws(RayStoreError)

    /// Says that the node lives. False when the store has given it up (or never knew it): the node must join again.
    func heartbeat(_ node: NodeID) async throws(RayStoreError) -> Bool

    /// The living nodes, in the order of their numbers.
    func nodes() async throws(RayStoreError) -> [NodeDescription]

    /// Nodes that were given up for their silence and may live all the same: whose link is cut, or whose process stands still. They may come back
    /// with all that they have, and are believed dead only an hour after they were given up. Asked at the head.
    func missingNodes() async throws(RayStoreError) -> [NodeID]

    /// Begins a job whose driver is a session of this node. Job numbers start at 1 and are never given twice.
    ///
    /// - Parameter namespace: where its names are; nil for one of its own, which no other job sees.
    func beginJob(driverNode: NodeID, namespace: String?) async throws(RayStoreError) -> JobRecord

    /// Ends a job. Every node hears of it.
    func endJob(_ job: JobID) async throws(RayStoreError)

    /// A job, running or ended; nil when there never was one.
    func job(_ job: JobID) async throws(RayStoreError) -> JobRecord?

    /// Gives an object a name.
    ///
    /// - Throws: `nameInUse` when the namespace has the name for another object.
    func bind(_ name: String, in namespace: String, to object: ObjectID) async throws(RayStoreError)

    /// - Throws: `nameUnknown`.
    func find(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID

    /// Takes a name away and says what it named.
    ///
    /// - Throws: `nameUnknown`.
    func unbind(_ name: String, in namespace: String) async throws(RayStoreError) -> ObjectID

    /// Takes all names of an object away; none is not a failure.
    func unbindAll(of object: ObjectID) async throws(RayStoreError)

    /// The names of a namespace, or of all of them.
    func names(in namespace: String?) async throws(RayStoreError) -> [NameRecord]

    /// What happens from now on. The stream begins with a `nodeJoined` for every living node, and begins again like that by itself
    /// when the connection to the head was lost and made again; it ends when the store is closed.
    func events() -> AsyncStream<ClusterEvent>
}

/// A job as the control store knows it.
public struct JobRecord: Hashable, Sendable, Codable {
    public let job: JobID
    /// Where the driver runs or ran: that node owns what the driver put.
    public let driverNode: NodeID
    public let namespace: String
    public var isRunning: Bool

    public init(job: JobID, driverNode: NodeID, namespace: String, isRunning: Bool) {
        self.job = job
        self.driverNode = driverNode
        self.namespace = namespace
        self.isRunning = isRunning
    }
}

/// A name and what it stands for.
public struct NameRecord: Hashable, Sendable, Codable {
    public let name: String
    public let namespace: String
    public let object: ObjectID

    public init(name: String, namespace: String, object: ObjectID) {
        self.name = name
        self.namespace = namespace
        self.object = object
    }
}

/// What the control store tells every node.
public enum ClusterEvent: Hashable, Sendable, Codable {
    case nodeJoined(NodeDescription)
    /// It left or was given up. Its references, holders and jobs count as gone.
    case nodeGone(NodeID)
    case jobEnded(JobID)
}
