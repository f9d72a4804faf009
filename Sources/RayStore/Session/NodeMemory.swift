// SPDX-License-Identifier: Apache-2.0

/// The shared memory of one node, as ``Session/memory()`` tells it.
public struct NodeMemory: Hashable, Sendable {
    public let node: NodeID
    public let capacity: ByteCount
    /// In blocks that objects own; used and free together are the capacity.
    public let used: ByteCount
    public let free: ByteCount
    public let largestFree: ByteCount
    public let freeBlocks: Int
    /// Of the free bytes, in blocks too small for an object of 1 MiB.
    public let unusableForMebibyte: ByteCount
    public let pinned: ByteCount
    public let objects: Int
    public let clients: Int
    /// Copies of files on the node's disk.
    public let files: Int
    public let fileBytes: ByteCount
}

extension NodeMemory: Decodable {
    private enum Key: String, CodingKey {
        case node, capacityBytes, usedBytes, freeBytes, largestFreeBytes, freeBlockCount, unusableForMebibyteBytes, pinnedBytes,
            objectCount, clientCount, fileCount, fileBytes
    }

    private struct Description: Decodable {
        let id: NodeID
    }

    // A node of another version may say less: only whose memory it is is certain.
    public init(from decoder: any Decoder) throws {
        let row = try decoder.container(keyedBy: Key.self)
        node = try row.decode(Description.self, forKey: .node).id
        capacity = try row.decodeIfPresent(ByteCount.self, forKey: .capacityBytes) ?? .zero
        used = try row.decodeIfPresent(ByteCount.self, forKey: .usedBytes) ?? .zero
        free = try row.decodeIfPresent(ByteCount.self, forKey: .freeBytes) ?? .zero
        largestFree = try row.decodeIfPresent(ByteCount.self, forKey: .largestFreeBytes) ?? .zero
        freeBlocks = try row.decodeIfPresent(Int.self, forKey: .freeBlockCount) ?? 0
        unusableForMebibyte = try row.decodeIfPresent(ByteCount.self, forKey: .unusableForMebibyteBytes) ?? .zero
        pinned = try row.decodeIfPresent(ByteCount.self, forKey: .pinnedBytes) ?? .zero
        objects = try row.decodeIfPresent(Int.self, forKey: .objectCount) ?? 0
        clients = try row.decodeIfPresent(Int.self, forKey: .clientCount) ?? 0
        files = try row.decodeIfPresent(Int.self, forKey: .fileCount) ?? 0
        fileBytes = try row.decodeIfPresent(ByteCount.self, forKey: .fileBytes) ?? .zero
    }
}
