// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore
internal import RayStoreNode

/// The options of `start` that say where objects go when memory is short, and when.
struct SpillChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            Where objects go when memory is short: a directory, s3://BUCKET/PATH, '{}' for nowhere, or the JSON that Ray has for it, \
            {"type": ..., "params": {...}}, as text or in a file as @FILE. (default: the folder 'spill' in the state directory)
            """, valueName: "json|@file|path"))
    var storage: String?

    @Option(
        help: ArgumentHelp(
            """
            At the head: the storage of the whole cluster, a directory that all machines see or s3://BUCKET/PATH, for nodes with \
            --storage '{"type": "ray_storage"}'.
            """, valueName: "path|s3-uri"))
    var clusterStorage: String?

    @Option(
        help: ArgumentHelp(
            """
            Begin to spill when the memory for objects is as full as the first, in the background, until it is as full as the second. \
            (default: 80:70)
            """, valueName: "percent:percent"),
        transform: { text in try Marks(text) })
    var spillWatermarks: Marks?

    @Option(
        help: ArgumentHelp(
            """
            Pack objects on their way to the storage, block by block, where that makes them smaller: on, off, or auto, which is on for S3 and off for \
            directories. 'compression' among the params of --storage says the same. (default: auto)
            """, valueName: "off|on|auto"),
        transform: { text in
            guard let compression = SpillCompression(rawValue: text) else {
                throw ValidationError("'\(text)' is no way to pack what is spilled; give off, on or auto")
            }
            return compression
        })
    var spillCompression: SpillCompression?

    @Option(
        help: ArgumentHelp("Write objects together until a file has as many bytes. (default: 100MiB)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var spillFileSize: ByteSize?

    @Option(help: ArgumentHelp("Write at most as many objects to a file. (default: 2000)", valueName: "count"))
    var spillFileObjects: Int?

    @Option(
        help: ArgumentHelp(
            """
            Bring objects back before they are asked for, up to this part of the memory, for who gets them in the order in which they were written; \
            0: none. (default: 25)
            """, valueName: "percent"))
    var spillReadAhead: Int?

    @Flag(help: "Wait for the disk before the memory of what was written to a directory is given up.")
    var spillSync = false

    @Flag(help: "Forget what earlier lives of the node left in storages that it is not given any more; it stays there.")
    var forgetStorages = false

    struct Marks: Sendable, Hashable {
        let high: Double
        let low: Double

        init(_ text: String) throws {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            let numbers = parts.compactMap { Double($0.hasSuffix("%") ? $0.dropLast() : $0) }
            guard parts.count == 2, numbers.count == 2, numbers[0] > numbers[1], numbers[1] >= 1, numbers[0] <= 100 else {
                throw ValidationError(
                    "'\(text)' are no two marks; give two parts of the memory from 100 to 1 with the higher first, 80:70")
            }
            (high, low) = (numbers[0], numbers[1])
        }
    }

    func validate() throws {
        if let spillFileSize, spillFileSize.bytes < 1 { throw ValidationError("--spill-file-size must be at least 1") }
        if let spillFileObjects, !(1...100_000).contains(spillFileObjects) {
            throw ValidationError("--spill-file-objects must be from 1 to 100000")
        }
        if let spillReadAhead, !(0...50).contains(spillReadAhead) {
            throw ValidationError("--spill-read-ahead must be from 0 to 50 per cent of the memory")
        }
    }

    func setup() throws -> SpillSetup {
        SpillSetup(
            storage: try storage.map(Self.json), clusterStorage: try clusterStorage.map(Self.clusterPlace),
            marks: spillWatermarks, compression: spillCompression,
            fileBytes: spillFileSize.map { UInt64($0.bytes) }, fileObjects: spillFileObjects, readAhead: spillReadAhead,
            isSynced: spillSync, forgetsOthers: forgetStorages)
    }

    /// Where the cluster's storage is, wherever a node's own folder is.
    private static func clusterPlace(_ given: String) throws -> String {
        if given.hasPrefix("s3://") {
            _ = try S3Location(given)
            return given
        }
        let path = given.hasPrefix("file://") ? String(given.dropFirst(7)) : given
        guard !path.isEmpty, !path.contains("://") else {
            throw Failure("--cluster-storage '\(given)' is neither a directory nor s3://BUCKET/PATH")
        }
        return Paths.absolute(path)
    }

    /// What was given as JSON, with paths that mean the same in the node's own folder.
    private static func json(_ given: String) throws -> String {
        var text = given
        if given.hasPrefix("@") {
            let path = Paths.absolute(String(given.dropFirst()))
            do {
                text = try String(contentsOfFile: path, encoding: .utf8)
            } catch {
                throw Failure("--storage: the file \(path) cannot be read")
            }
        } else if given.isEmpty {
            throw Failure("--storage is empty: give a directory, or '{}' for no spilling")
        } else if given.hasPrefix("s3://") {
            return try encode(["type": "smart_open", "params": ["uri": given]])
        } else if !given.drop(while: \.isWhitespace).hasPrefix("{") {
            return try encode(["type": "filesystem", "params": ["directory_path": Paths.absolute(given)]])
        }
        // Before a node is started for it.
        _ = try StorageConfiguration(json: text)
        guard var value = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any],
            var params = value["params"] as? [String: Any]
        else { return text }
        if let path = params["directory_path"] as? String, !path.isEmpty { params["directory_path"] = Paths.absolute(path) }
        if let paths = params["directory_path"] as? [String] {
            params["directory_path"] = paths.map { $0.isEmpty ? $0 : Paths.absolute($0) }
        }
        value["params"] = params
        return try encode(value)
    }

    private static func encode(_ value: [String: Any]) throws -> String {
        String(decoding: try JSONSerialization.data(withJSONObject: value, options: [.sortedKeys]), as: UTF8.self)
    }
}

/// Where objects go, and when; nil for the usual.
struct SpillSetup: Sendable {
    /// JSON.
    var storage: String?
    /// Of the cluster, at its head.
    var clusterStorage: String?
    var marks: SpillChoice.Marks?
    var compression: SpillCompression?
    var fileBytes: UInt64?
    var fileObjects: Int?
    /// In per cent of the memory.
    var readAhead: Int?
    var isSynced = false
    var forgetsOthers = false

    /// The options that say the same.
    var arguments: [String] {
        var words: [String] = []
        if let storage { words += ["--storage", storage] }
        if let clusterStorage { words += ["--cluster-storage", clusterStorage] }
        if let marks { words += ["--spill-watermarks", "\(marks.high):\(marks.low)"] }
        if let compression { words += ["--spill-compression", compression.rawValue] }
        if let fileBytes { words += ["--spill-file-size", String(fileBytes)] }
        if let fileObjects { words += ["--spill-file-objects", String(fileObjects)] }
        if let readAhead { words += ["--spill-read-ahead", String(readAhead)] }
        if isSynced { words.append("--spill-sync") }
        if forgetsOthers { words.append("--forget-storages") }
        return words
    }

    func set(_ options: inout NodeOptions) throws(RayStoreError) {
        let configured = try StorageConfiguration(json: storage).compression
        if let compression = compression ?? configured { options.spill.compression = compression }
        options.forgetsOtherStorages = forgetsOthers
        if let fileBytes { options.spill.fileBytes = fileBytes }
        if let fileObjects { options.spill.fileObjects = fileObjects }
        if let readAhead { options.spill.readAhead = Double(readAhead) / 100 }
        guard let marks else { return }
        options.spill.highWatermark = marks.high / 100
        options.spill.lowWatermark = marks.low / 100
    }

    /// Whether it is the cluster's, so that the head has to be asked for it.
    func asksCluster() throws(RayStoreError) -> Bool {
        try StorageConfiguration(json: storage).asksCluster
    }

    /// The storage of a node with this state directory; in that cluster, where that matters.
    func storage(in stateDirectory: String, cluster: ClusterInfo? = nil) throws(RayStoreError) -> any ExternalStorage {
        let owner = try StorageOwner.name(in: stateDirectory)
        return try StorageConfiguration(json: storage).storage(
            for: StorageConfiguration.Node(
                stateDirectory: stateDirectory, owner: owner, session: cluster?.session, clusterStorage: cluster?.storage,
                durability: isSynced ? .synced : .kernel))
    }
}
