// SPDX-License-Identifier: Apache-2.0
public import RayStore
public import RayStoreNode

/// How a node of a cluster is set up.
public struct ClusterOptions: Sendable {
    /// The port that a head listens on for control messages unless told otherwise.
    public static let defaultHeadPort: UInt16 = 6380

    /// The node itself. Its `bindHost` is set from `bindHost` here.
    public var node: NodeOptions
    /// The address that the node's ports listen on: an IP address of this machine, or 0.0.0.0 for all of them.
    public var bindHost: String = "127.0.0.1"
    /// The name or address that other nodes reach this one by; nil for `bindHost`.
    public var advertisedHost: String?
    /// The port of control messages, 0 for any free one; nil for `defaultHeadPort` at the head and any free one elsewhere.
    public var controlPort: UInt16?
    /// The file with the cluster's key; nil for `cluster.key` in the state directory. A head makes it if it is missing.
    public var keyFile: String?
    /// How often a node tells the head that it lives.
    public var heartbeatEvery: Duration = .milliseconds(500)
    /// Where objects go when memory is short; nil for the folder `spill` of the state directory, `NoExternalStorage` for nowhere. It is this node's
    /// alone, and destroyed when the node stops: several nodes that spill to one directory or bucket have folders of their own there
    /// (`StorageOwner`).
    public var storage: (any ExternalStorage)?
    /// Makes `storage` of what the head says of the cluster, as `StorageConfiguration` does for `ray_storage`; nil when `storage` is what is wanted. The
    /// head is asked before the node joins, so one of another version fails in other words than `versionMismatch`: for storages that depend on it only
    /// (`StorageConfiguration.asksCluster`).
    public var makeStorage: (@Sendable (ClusterInfo) async throws(RayStoreError) -> any ExternalStorage)?
    /// At the head: the storage that the cluster's nodes have together, a directory that all machines see or `s3://...`; the nodes are told.
    public var clusterStorage: String?
    /// How a head judges silence.
    public var timing = EmbeddedControlStore.Timing()

    public init(node: NodeOptions) {
        self.node = node
    }

    var resolvedKeyFile: String { keyFile ?? node.stateDirectory + "/cluster.key" }
}
