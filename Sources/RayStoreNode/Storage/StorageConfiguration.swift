// SPDX-License-Identifier: Apache-2.0
public import Foundation
public import RayStore

/// Where a node spills to, as the JSON that Ray's users have: `{"type": ..., "params": {...}}`.
///
/// | type | params |
/// |---|---|
/// | `filesystem` | `directory_path` (a text or a list of them), `buffer_size`, `compression` |
/// | `smart_open` | `uri` (`s3://...`, one or a list), `prefix`, `buffer_size`, `compression` |
/// | `ray_storage` | `buffer_size`, `compression`; goes to the cluster's own storage |
/// | `unstable_fs`, `slow_fs` | those of `filesystem`; for tests |
///
/// An empty object means no spilling. No configuration at all means `filesystem` below the state directory. What is not known, or missing, is refused, with
/// its name. `buffer_size` is how large the parts of an S3 object are; files are written straight from the store, without a buffer.
/// `compression` is `off`, `on` or `auto` (`SpillCompression`); Ray has none.
public struct StorageConfiguration: Sendable {
    /// What a configuration is read for.
    public struct Node: Sendable {
        public var stateDirectory: String
        /// The name of the node's own folder wherever it spills to, the same in each of its lives.
        public var owner: String
        /// The cluster's name; nil when nobody has asked for it: then `ray_storage` is refused.
        public var session: String?
        /// The cluster's storage, a directory or `s3://...`; nil when it has none.
        public var clusterStorage: String?
        /// Of files in directories. An S3 service has what it has answered for.
        public var durability: FilesystemStorage.Durability
        public var environment: [String: String]

        public init(
            stateDirectory: String, owner: String, session: String? = nil, clusterStorage: String? = nil,
            durability: FilesystemStorage.Durability = .kernel,
            environment: [String: String] = ProcessInfo.processInfo.environment
        ) {
            self.stateDirectory = stateDirectory
            self.owner = owner
            self.session = session
            self.clusterStorage = clusterStorage
            self.durability = durability
            self.environment = environment
        }
    }

    /// Whether `storage` depends on what the head says of the cluster (`ClusterInfo`).
    public var asksCluster: Bool { type == "ray_storage" }

    /// What it says of packing; nil when it says nothing.
    public let compression: SpillCompression?
    /// Nothing is configured.
    private let isUsual: Bool
    private let type: String?
    private let params: StorageParameters

    /// - Parameter json: nil, or no text at all, when nothing is configured.
    /// - Throws: `invalidArgument` naming what is not JSON, or not a configuration.
    public init(json: String?) throws(RayStoreError) {
        guard let json, !json.allSatisfy(\.isWhitespace) else {
            try self.init(type: nil, params: StorageParameters(values: [:]), isUsual: true)
            return
        }
        let value: JSONValue
        do {
            value = try JSONDecoder().decode(JSONValue.self, from: Data(json.utf8))
        } catch {
            throw RayStoreError(.invalidArgument, "the spilling configuration is not JSON: \(json)")
        }
        guard case .object(let fields) = value else {
            throw RayStoreError(.invalidArgument, "the spilling configuration is not an object: \(json)")
        }
        if let unknown = fields.keys.sorted().first(where: { $0 != "type" && $0 != "params" }) {
            throw RayStoreError(
                .invalidArgument, "'\(unknown)' is no part of a spilling configuration; it has 'type' and 'params'")
        }
        switch (fields["type"], fields["params"]) {
        case (nil, nil):
            try self.init(type: nil, params: StorageParameters(values: [:]))
        case (.text(let type)?, nil):
            try self.init(type: type, params: StorageParameters(values: [:]))
        case (.text(let type)?, .object(let values)?):
            try self.init(type: type, params: StorageParameters(values: values))
        case (.text?, _):
            throw RayStoreError(.invalidArgument, "params: is not an object")
        default:
            throw RayStoreError(.invalidArgument, "type: is missing, or not a text; it is one of \(Self.types)")
        }
    }

    private init(type: String?, params: StorageParameters, isUsual: Bool = false) throws(RayStoreError) {
        self.isUsual = isUsual
        self.type = type
        self.params = params
        let text = try params.text("compression")
        compression = text.flatMap(SpillCompression.init(rawValue:))
        guard compression != nil || text == nil else {
            throw RayStoreError(.invalidArgument, "compression: '\(text ?? "")' is none of off, on and auto")
        }
    }

    private static let types = "filesystem, smart_open, ray_storage, unstable_fs, slow_fs"

    /// - Throws: `invalidArgument` naming the parameter that is wrong; `keyUnusable` when S3 is wanted and there are no credentials.
    public func storage(for node: Node) throws(RayStoreError) -> any ExternalStorage {
        switch type {
        case nil where isUsual:
            return FilesystemStorage(
                directories: [node.stateDirectory + "/spill"], owner: node.owner, durability: node.durability)
        case nil: return NoExternalStorage()
        case "filesystem": return try filesystem(node)
        case "unstable_fs": return UnstableStorage(try filesystem(node))
        case "slow_fs": return SlowStorage(try filesystem(node))
        case "smart_open": return try s3(node)
        case "ray_storage": return try clusterStorage(node)
        case let unknown?:
            throw RayStoreError(.invalidArgument, "type: '\(unknown)' is not a kind of storage; it is one of \(Self.types)")
        }
    }

    private func filesystem(_ node: Node) throws(RayStoreError) -> FilesystemStorage {
        try params.refuseOthers(than: ["directory_path", "buffer_size", "compression"])
        _ = try params.size("buffer_size")
        guard let directories = try params.texts("directory_path") else {
            throw RayStoreError(.invalidArgument, "directory_path: is missing; write a directory, or a list of them")
        }
        return FilesystemStorage(directories: directories, owner: node.owner, durability: node.durability)
    }

    private func s3(_ node: Node) throws(RayStoreError) -> S3Storage {
        try params.refuseOthers(than: ["uri", "prefix", "buffer_size", "compression"])
        guard let uris = try params.texts("uri") else {
            throw RayStoreError(.invalidArgument, "uri: is missing; write s3://BUCKET or s3://BUCKET/PATH, or a list of them")
        }
        var locations: [S3Location] = []
        for uri in uris { locations.append(try S3Location(uri)) }
        return try S3Storage(
            locations: locations, prefix: try params.text("prefix") ?? "ray_spilled_objects", owner: node.owner,
            service: try S3Service.fromEnvironment(node.environment), partBytes: try partBytes())
    }

    private func clusterStorage(_ node: Node) throws(RayStoreError) -> any ExternalStorage {
        try params.refuseOthers(than: ["buffer_size", "compression"])
        guard let root = node.clusterStorage else {
            throw RayStoreError(
                .invalidArgument,
                "type: 'ray_storage' spills to the cluster's storage, and its head was started without one (--cluster-storage)")
        }
        guard let session = node.session else {
            throw RayStoreError(.invalidArgument, "type: 'ray_storage' needs the cluster's name, which its head says")
        }
        let folder = "spilled_objects/\(session)"
        guard root.hasPrefix("s3://") else {
            let path = (root.hasPrefix("file://") ? String(root.dropFirst(7)) : root) + "/" + folder
            return FilesystemStorage(
                directories: [path], owner: node.owner, durability: node.durability, shared: path)
        }
        let location = try S3Location(root)
        return try S3Storage(
            locations: [location], prefix: folder, owner: node.owner,
            service: try S3Service.fromEnvironment(node.environment), partBytes: try partBytes(),
            shared: S3Location(bucket: location.bucket, path: location.key([folder])))
    }

    /// S3 takes no parts below 5 MiB; Ray's users have 1 MiB, its default, in their configurations: that leaves it to the client.
    private func partBytes() throws(RayStoreError) -> UInt64? {
        guard let size = try params.size("buffer_size"), size >= 5 << 20 else { return nil }
        return size
    }
}
