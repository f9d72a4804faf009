// SPDX-License-Identifier: Apache-2.0

/// An object on one node, as ``Session/list()`` tells it.
public struct ObjectSummary: Hashable, Sendable {
    public let object: ObjectID
    /// The first digits of the node's id.
    public let node: String
    /// `object` or `file`.
    public let kind: String
    /// `sealed`, `creating`, `remote`, `spilled`, `failed` or `deleting`.
    public let state: String
    /// Of the data, or of the file.
    public let size: ByteCount
    /// What it takes of the node's shared memory, rounding included.
    public let memory: ByteCount
    public let job: JobID
    /// The process that made it on that node, also when that has ended; nil when it is not known.
    public let creatorProcess: Int32?
    /// Since the creator began to make it, in steps of 0.1 s.
    public let age: Duration
    /// Whether this node keeps the object's references.
    public let isOwner: Bool
    public let isDetached: Bool
    /// Processes of this node that hold a ref, and that pin it.
    public let referringClients: Int
    public let pinningClients: Int
    /// Other nodes with refs, and with copies; known at the owner.
    public let borrowers: Int
    public let holders: Int
    /// Where a file lies on that node.
    public let path: String?
}

extension ObjectSummary: Decodable {
    private enum Key: String, CodingKey {
        case object, node, kind, state, size, memoryBytes, job, creatorProcess, ageSeconds, isOwner, isDetached,
            referringClients, pinningClients, borrowers, holders, path
    }

    // A node of another version may say less: only the id is certain.
    public init(from decoder: any Decoder) throws {
        let row = try decoder.container(keyedBy: Key.self)
        object = try row.decode(ObjectID.self, forKey: .object)
        node = try row.decodeIfPresent(String.self, forKey: .node) ?? ""
        kind = try row.decodeIfPresent(String.self, forKey: .kind) ?? ""
        state = try row.decodeIfPresent(String.self, forKey: .state) ?? ""
        size = try row.decodeIfPresent(ByteCount.self, forKey: .size) ?? .zero
        memory = try row.decodeIfPresent(ByteCount.self, forKey: .memoryBytes) ?? .zero
        job = try row.decodeIfPresent(JobID.self, forKey: .job) ?? object.job
        creatorProcess = try row.decodeIfPresent(Int32.self, forKey: .creatorProcess)
        age = .seconds(try row.decodeIfPresent(Double.self, forKey: .ageSeconds) ?? 0)
        isOwner = try row.decodeIfPresent(Bool.self, forKey: .isOwner) ?? false
        isDetached = try row.decodeIfPresent(Bool.self, forKey: .isDetached) ?? false
        referringClients = try row.decodeIfPresent(Int.self, forKey: .referringClients) ?? 0
        pinningClients = try row.decodeIfPresent(Int.self, forKey: .pinningClients) ?? 0
        borrowers = try row.decodeIfPresent(Int.self, forKey: .borrowers) ?? 0
        holders = try row.decodeIfPresent(Int.self, forKey: .holders) ?? 0
        path = try row.decodeIfPresent(String.self, forKey: .path)
    }
}
