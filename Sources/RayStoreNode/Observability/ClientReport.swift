// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// A process of one node, and what it has to do with the node's memory; the rows of `raystore memory --group-by client`.
public struct ClientReport: Codable, Sendable {
    public enum Role: String, Codable, Sendable {
        case node, client
        /// All that made something and have ended: this row has what they have made, and nothing else.
        case gone
    }

    /// The short id of the node that this row is about.
    public var node: String
    public var role: Role
    /// Its place in the store; nil of those that have gone.
    public var slot: Int?
    public var process: Int64?
    public var ageSeconds: Double?
    /// Objects in memory that it made, and what their blocks take.
    public var createdCount: UInt64
    public var createdBytes: UInt64
    /// Of these bytes, still being written.
    public var unsealedBytes: UInt64
    /// Objects that it reads.
    public var pinnedCount: UInt64
    public var pinnedBytes: UInt64
    /// Objects that it refers to, and what those of them take that are in this memory.
    public var refCount: UInt64
    public var refBytes: UInt64
}

extension ClientReport {
    init(_ row: ray_store_client, node: String) {
        let hasGone = row.slot == UInt32.max
        self.init(
            node: node, role: hasGone ? .gone : row.slot == UInt32(RAY_NODE_SLOT) ? .node : .client,
            slot: hasGone ? nil : Int(row.slot), process: hasGone ? nil : row.pid,
            ageSeconds: hasGone ? nil : Double(row.age_ns) / 1e9, createdCount: row.created_count,
            createdBytes: row.created_bytes, unsealedBytes: row.unsealed_bytes, pinnedCount: row.pinned_count,
            pinnedBytes: row.pinned_bytes, refCount: row.ref_count, refBytes: row.ref_bytes)
    }
}
