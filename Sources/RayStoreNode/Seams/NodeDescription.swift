// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// What the cluster knows of a node, and what one needs to reach it.
public struct NodeDescription: Hashable, Sendable, Codable {
    public let id: NodeID
    /// A small number that the control store gives at joining and never gives twice; 0 before that. It is part of the ids that
    /// the node's sessions make.
    public var number: UInt32
    /// The address that other nodes reach it by.
    public var host: String
    /// Where control messages go (gRPC).
    public var controlPort: UInt16
    /// Where chunks come from.
    public var bulkPort: UInt16
    public var libraryVersion: String

    public init(
        id: NodeID, number: UInt32 = 0, host: String, controlPort: UInt16, bulkPort: UInt16, libraryVersion: String
    ) {
        self.id = id
        self.number = number
        self.host = host
        self.controlPort = controlPort
        self.bulkPort = bulkPort
        self.libraryVersion = libraryVersion
    }
}
