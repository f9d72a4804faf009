// SPDX-License-Identifier: Apache-2.0
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
    /// Where objects go when memory is short; nil for the folder `spill` of the state directory, `NoExternalStorage` for nowhere.
    public var storage: (any ExternalStorage)?
    /// Whether `storage` is the cluster's one, and the head destroys it when it stops; false for one that this node has for itself.
    public var sharesStorage = true
    /// How a head judges silence.
    public var timing = EmbeddedControlStore.Timing()

    public init(node: NodeOptions) {
        self.node = node
    }

    var resolvedKeyFile: String { keyFile ?? node.stateDirectory + "/cluster.key" }
}
