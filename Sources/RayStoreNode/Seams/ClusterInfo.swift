// SPDX-License-Identifier: Apache-2.0

/// What the head tells a node of the cluster: where the node may spill to, and whether what it has on its disk came from this cluster.
public struct ClusterInfo: Codable, Hashable, Sendable {
    /// The cluster's name, made by its first head and kept by those that take its state directory over: letters, digits and `_`.
    public var session: String
    /// The storage that the cluster's nodes have together, a directory that all machines see or `s3://...`; nil when the head was given none.
    public var storage: String?

    public init(session: String, storage: String? = nil) {
        self.session = session
        self.storage = storage
    }
}
