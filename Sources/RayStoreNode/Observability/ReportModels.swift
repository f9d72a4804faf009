// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// What a node says of itself; the rows of `raystore status`.
public struct NodeReport: Codable, Sendable {
    public var node: NodeDescription
    public var capacityBytes: UInt64
    public var usedBytes: UInt64
    public var freeBytes: UInt64
    public var largestFreeBytes: UInt64
    public var freeBlockCount: UInt64
    /// Of the free bytes, in blocks too small for an object of 1 MiB.
    public var unusableForMebibyteBytes: UInt64
    public var pinnedBytes: UInt64
    public var reservedBytes: UInt64
    public var objectCount: Int
    public var clientCount: Int
    public var fileCount: Int
    public var fileBytes: UInt64
    public var sentBytes: UInt64
    public var sentWireBytes: UInt64
    public var receivedBytes: UInt64
    public var receivedWireBytes: UInt64
    public var refusedConnections: UInt64
    public var corruptChunks: UInt64
    public var retriedChunks: UInt64
    /// Checksums of what is sent.
    public var sums: SumsReport?
    /// The kind of storage that objects go to when memory is short; `none` when there is no spilling.
    public var storage: String
    public var canSpill: Bool
    /// What went to that storage and came back; nil when there is no spilling.
    public var spill: SpillCounters?
    /// Storages that are not configured any more, where earlier lives have left files, at the node's start.
    public var leftStorages: [LeftStorage]?
    /// Where its files are; nil when that cannot be looked at.
    public var disk: DiskReport?
}

/// Who computed the checksums of what a node has, since its start.
public struct SumsReport: Codable, Sendable {
    /// Hashed while they were sent.
    public var hashedBytes: UInt64
    /// Hashed before anybody asked.
    public var aheadBytes: UInt64
    /// Hashed by who put them, on the way into the store.
    public var givenBytes: UInt64
    /// What waits for that.
    public var pendingCount: UInt64
    public var pendingBytes: UInt64
    /// Sent without being copied through the node.
    public var sendfileBytes: UInt64
}

/// The file system of a node's files, and what happened for want of room there.
public struct DiskReport: Codable, Sendable {
    /// Used and free, as df counts.
    public var totalBytes: UInt64
    public var freeBytes: UInt64
    /// Of the free bytes, what files leave: the reserve, or what is above the watermark.
    public var keptBytes: UInt64
    /// Files that wait for room now.
    public var waitingCount: Int
    /// Copies that were let go of for others, since the node's start.
    public var droppedFileCount: UInt64
    public var droppedFileBytes: UInt64
    /// Files of this node that lie in its storage now.
    public var movedFileCount: Int
    public var movedFileBytes: UInt64
    /// How often a file went there, and came back, since the node's start.
    public var moves: UInt64
    public var returns: UInt64
    /// Files that had come in part when an earlier node of the state directory ended, and that nobody has asked for since; what they
    /// take of the disk.
    public var partialFileCount: Int
    public var partialFileBytes: UInt64
}

/// One object on one node; the rows of `raystore list` and `raystore memory`.
public struct ObjectReport: Codable, Sendable {
    public var object: ObjectID
    /// The short id of the node that this row is about.
    public var node: String
    /// `object` or `file`.
    public var kind: String
    /// As in the store, and `spilled` for what is in the storage alone.
    public var state: String
    /// The process that made it here, also when that has ended; nil when it is not known.
    public var creatorProcess: Int32?
    /// Since the creator began to make it, in steps of 0.1 s.
    public var ageSeconds: Double
    /// What it takes of the memory, rounding included; of a file, its descriptor.
    public var memoryBytes: UInt64
    /// Of the data, or of the file.
    public var size: UInt64
    /// What its record takes in the storage; 0 when it has none.
    public var spilledBytes: UInt64
    public var job: JobID
    public var isOwner: Bool
    public var isDetached: Bool
    /// Processes of this node.
    public var referringClients: Int
    public var pinningClients: Int
    /// Other nodes; known at the owner.
    public var borrowers: Int
    public var holders: Int
    public var shares: Int
    public var path: String?
}

/// The whole cluster; the answer to `report("status")`.
public struct ClusterReport: Codable, Sendable {
    /// The node that was asked.
    public var node: NodeID
    public var nodes: [NodeReport]
    /// Nodes that are in the cluster and did not answer.
    public var silent: [NodeDescription]
}

/// Objects of every node; the answer to `report("list")` and, with the clients, `report("memory")`.
public struct ObjectsReport: Codable, Sendable {
    public var objects: [ObjectReport]
    public var names: [NameRecord]
    /// Nil in the answer to `list`.
    public var clients: [ClientReport]?
    public var nodes: [NodeReport]
    public var silent: [NodeDescription]
}
