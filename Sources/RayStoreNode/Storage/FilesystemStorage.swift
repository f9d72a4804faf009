// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Foundation
public import RayStore
internal import Synchronization

/// Spilled files in directories of this machine, used in turn from a random start.
///
/// Each directory gets a sub-folder `ray_spilled_objects`, and in it one of the node's own, so that several nodes may share the directory. A
/// directory that is full or failing is passed over; the next is tried.
public final class FilesystemStorage: ExternalStorage {
    /// When what was written is on the disk.
    public enum Durability: String, Sendable, CaseIterable {
        /// When the kernel comes to it. What was spilled outlives the node's process all the same; nothing of it is needed after the machine has
        /// gone down, since its objects have ended then.
        case kernel
        /// Before an object's memory is given up.
        case synced
    }

    public let typeName = "filesystem"
    public let canSpill = true
    public let takesBytesByRange = true

    private let roots: [String]
    private let shared: String?
    private let owner: String
    private let reserve: UInt64
    private let durability: Durability
    private let next: Atomic<UInt>
    /// From `validate` to `destroy`.
    private let locks = Mutex<[FolderLock]>([])

    /// - Parameters:
    ///   - directories: at least one; made, if missing, by `validate`.
    ///   - owner: the name of the node's own folder, the same in each of its lives; a name of letters, digits, `-` and `_`.
    ///   - reserve: bytes of each disk that stay free.
    ///   - shared: a folder around the directories that is this cluster's, and goes with it; nil when there is none.
    public init(
        directories: [String], owner: String, reserve: UInt64 = 64 << 20, durability: Durability = .kernel,
        shared: String? = nil
    ) {
        precondition(!directories.isEmpty, "a storage needs a directory")
        roots = directories
        self.shared = shared
        self.owner = owner
        self.reserve = reserve
        self.durability = durability
        next = Atomic(UInt.random(in: 0..<UInt(directories.count)))
    }

    private func folder(_ root: String) -> String { "\(root)/ray_spilled_objects/\(owner)" }

    public var folders: [String] { roots.map { folder($0) + "/" } }

    public func validate() async throws(RayStoreError) {
        guard locks.withLock(\.isEmpty) else { return }
        var made: [String] = []
        for root in roots {
            let folder = folder(root)
            do throws(RayStoreError) {
                let lock = try await runBlocking(on: .slow) { () throws(RayStoreError) in try Self.probe(folder) }
                made.append(folder)
                if let lock { locks.withLock { $0.append(lock) } }
            } catch {
                for folder in made { await Self.removeFolder(folder) }
                locks.withLock { $0 = [] }
                guard error.code != .inUse else {
                    throw RayStoreError(
                        .inUse,
                        "directory_path: another node spills to \(folder): \(error.message). Stop it; or, if this node's state directory is a copy "
                            + "of the other's, remove the file storage-owner from it, so that this node gets a name of its own")
                }
                throw RayStoreError(
                    .invalidArgument,
                    "directory_path: nothing can be spilled to \(root): \(error.message); name a directory that this user may write",
                    systemErrno: error.systemErrno)
            }
        }
    }

    /// Takes the folder, writes a file and reads it again: a directory may exist and refuse both.
    private static func probe(_ folder: String) throws(RayStoreError) -> FolderLock? {
        try RayStoreError.check { ray_directory_make_private(folder).rawValue }
        let lock = try FolderLock.take(folder)
        let path = folder + "/.probe"
        _ = ray_file_remove(path)
        var byte: UInt8 = 42
        defer { _ = ray_file_remove(path) }
        try withUnsafeMutableBytes(of: &byte) { (bytes) throws(RayStoreError) in
            var part = ray_spill_part(bytes: bytes.baseAddress, size: 1)
            try RayStoreError.check { ray_spill_write(path, &part, 1, 0, 0).rawValue }
            try RayStoreError.check { ray_spill_read(path, 0, &part, 1).rawValue }
        }
        return lock
    }

    public func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
        let first = Int(next.wrappingAdd(1, ordering: .relaxed).oldValue % UInt(roots.count))
        let flags: UInt32 = durability == .synced ? UInt32(RAY_SPILL_SYNC) : 0
        var failures: [RayStoreError] = []
        for turn in 0..<roots.count {
            let path = folder(roots[(first + turn) % roots.count]) + "/" + batch.name
            do throws(RayStoreError) {
                let reserve = reserve
                try await runBlocking(on: .slow) { () throws(RayStoreError) in
                    let parts = batch.parts(ofFirst: batch.recordCount)
                    try RayStoreError.check {
                        ray_spill_write_packed(
                            path, parts.baseAddress!, UInt32(parts.count), batch.packed?.pointer, reserve, flags
                        ).rawValue
                    }
                }
                if durability == .kernel { Self.beginWritingBack(path) }
                return SpilledFile(url: path, recordCount: batch.recordCount)
            } catch {
                failures.append(error)
            }
        }
        // When one has no room and another fails, room is what will help.
        throw failures.first { $0.code == .outOfDisk } ?? failures[0]
    }

    /// One after the other, and without anybody waiting: the disk's queue is full most of the time when much is spilled.
    private static let writingBack = BlockingThreads(limit: 1)

    private static func beginWritingBack(_ path: String) {
        // Without a thread the kernel writes it in its own time.
        _ = writingBack.submit { ray_spill_write_back(path) }
    }

    public func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        try await runBlocking(on: .slow) { () throws(RayStoreError) in
            try self.restoreHere(file, from: offset, into: memory)
        }
    }

    public func localPath(of file: String) -> String? { file }

    public func delete(_ file: String) async throws(RayStoreError) {
        try await runBlocking(on: .slow) { () throws(RayStoreError) in
            try RayStoreError.check { ray_file_remove(file).rawValue }
        }
    }

    public func files() async throws(RayStoreError) -> [String] {
        var all: [String] = []
        for root in roots {
            let folder = folder(root)
            all += try await runBlocking(on: .slow) { () throws(RayStoreError) in try Self.files(in: folder) }
        }
        return all
    }

    private static func files(in folder: String) throws(RayStoreError) -> [String] {
        guard FileManager.default.fileExists(atPath: folder) else { return [] }
        do {
            return try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0 != FolderLock.name }
                .map { folder + "/" + $0 }
        } catch {
            throw RayStoreError(.system, "\(folder) cannot be listed: \(error)")
        }
    }

    public func destroy() async throws(RayStoreError) {
        var failure: RayStoreError?
        for root in roots {
            let folder = folder(root)
            do throws(RayStoreError) {
                try await runBlocking(on: .slow) { () throws(RayStoreError) in
                    for file in try Self.files(in: folder) { try RayStoreError.check { ray_file_remove(file).rawValue } }
                }
                await Self.removeFolder(folder)
            } catch {
                failure = failure ?? error
            }
        }
        locks.withLock { $0 = [] }
        if let failure { throw failure }
    }

    public func destroyShared() async throws(RayStoreError) {
        guard let shared else { return }
        try await runBlocking(on: .slow) { () throws(RayStoreError) in
            guard FileManager.default.fileExists(atPath: shared) else { return }
            try RayStoreError.check { ray_directory_clear(shared).rawValue }
        }
        await Self.removeFolder(shared)
    }

    /// The node's folder, and the one above it when no other node has one there.
    private static func removeFolder(_ folder: String) async {
        try? await runBlocking(on: .slow) { () throws(RayStoreError) in
            // The lock's file is the last to go, and held until then: whoever takes the folder next finds nothing of this life in it.
            if (try? Self.files(in: folder).isEmpty) == true { _ = ray_file_remove(folder + "/" + FolderLock.name) }
            if ray_directory_remove_empty(folder), let slash = folder.lastIndex(of: "/") {
                _ = ray_directory_remove_empty(String(folder[..<slash]))
            }
        }
    }
}
