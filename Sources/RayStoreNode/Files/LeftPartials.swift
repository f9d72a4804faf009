// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Foundation
internal import RayStore
internal import Synchronization

/// Files that came in part in an earlier life of the node, and wait until somebody wants their objects again.
///
/// Each lies at `partial/<object id>` with the journal of its pull beside it. A pull of the object takes it over, verifies what has come and
/// asks for the rest. What nobody wants goes after a time, when the disk is short, or when the object is known to have ended. Calls that
/// remove block on the disk.
final class LeftPartials: Sendable {
    /// How long what an earlier life left is kept, from the node's start on, unless its options say otherwise.
    static let lifetime = Duration.seconds(3600)

    private let folder: String
    private let left: Mutex<Set<ObjectID>>

    /// Looks what is in the folder. Removes what no pull can go on with: files without a journal, journals without a file, and all else.
    init(folder: String) throws(RayStoreError) {
        self.folder = folder
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw RayStoreError(.system, "the folder \(folder) cannot be read: \(error.localizedDescription)")
        }
        let left = Set(names.compactMap { Self.object(of: $0, in: folder) })
        let kept = Set(left.flatMap { ["\($0)", "\($0)\(RAY_JOURNAL_SUFFIX)"] })
        for name in names where !kept.contains(name) { try Self.remove("\(folder)/\(name)") }
        self.left = Mutex(left)
    }

    /// Keeps what came in this cluster only: the next one gives the same ids to other contents, and no chunk's sum would tell. To be called before
    /// anything is pulled.
    ///
    /// - Parameter session: the cluster's name; nil when it is not known, then nothing is kept.
    func belong(to session: String?) throws(RayStoreError) {
        let note = folder + ".session"
        if let session, let known = try? String(contentsOfFile: note, encoding: .utf8), known == session { return }
        left.withLock { $0 = [] }
        // The note last: a start that is killed in between leaves the other cluster's, and the next one begins here again.
        try RayStoreError.check { ray_directory_clear(folder).rawValue }
        guard let session else {
            try RayStoreError.check { ray_file_remove(note).rawValue }
            return
        }
        do {
            try Data(session.utf8).write(to: URL(fileURLWithPath: note), options: .atomic)
        } catch {
            throw RayStoreError(.system, "\(note) cannot be written: \(error.localizedDescription)")
        }
    }

    /// Takes it off the list, as somebody pulls it now; says whether it was there.
    func take(_ id: ObjectID) -> Bool {
        left.withLock { $0.remove(id) != nil }
    }

    /// Whoever had taken it has given up.
    func giveBack(_ id: ObjectID) {
        guard Self.object(of: "\(id)", in: folder) != nil else {
            _ = ray_pull_discard("\(folder)/\(id)")
            return
        }
        left.withLock { _ = $0.insert(id) }
    }

    var all: Set<ObjectID> { left.withLock { $0 } }

    /// How many there are, and what they take of the disk.
    var counts: (files: Int, bytes: UInt64) {
        let all = all
        return (all.count, all.reduce(0) { $0 + ray_file_allocated("\(folder)/\($1)") })
    }

    /// Removes those that nobody has taken meanwhile; answers how many bytes went.
    @discardableResult
    func discard(_ ids: some Sequence<ObjectID>) -> UInt64 {
        var freed: UInt64 = 0
        for id in ids where take(id) {
            let size = ray_file_allocated("\(folder)/\(id)")
            // What cannot be removed is found by the next start again.
            if ray_pull_discard("\(folder)/\(id)") == .ok { freed += size }
        }
        return freed
    }

    /// Removes the oldest until so many bytes are free or there is none left; answers how many went.
    func relieve(of bytes: UInt64) -> UInt64 {
        var freed: UInt64 = 0
        let byAge = all.map { id in (id, Self.lastWrite("\(folder)/\(id)")) }.sorted { $0.1 < $1.1 }
        for (id, _) in byAge where freed < bytes { freed += discard([id]) }
        return freed
    }

    /// The object whose file is of this name, if a pull can go on with it: a power cut may have left anything in file and journal.
    private static func object(of name: String, in folder: String) -> ObjectID? {
        guard let id = try? ObjectID(name), id.description == name else { return nil }
        return id.withC { ray_pull_can_resume("\(folder)/\(name)", &$0) } == .ok ? id : nil
    }

    private static func lastWrite(_ path: String) -> Int {
        var info = stat()
        return lstat(path, &info) == 0 ? info.st_mtim.tv_sec : 0
    }

    private static func remove(_ path: String) throws(RayStoreError) {
        var info = stat()
        if lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR {
            try RayStoreError.check { ray_directory_clear(path).rawValue }
            _ = ray_directory_remove_empty(path)
        } else {
            try RayStoreError.check { ray_file_remove(path).rawValue }
        }
    }
}
