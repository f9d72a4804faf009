// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// The demo's own directory, removed at its end. What a killed demo has left is removed by the next one.
final class DemoRoom: Sendable {
    let path: String
    /// Part of every name that the demo gives to anything outside of its directory.
    let tag: String
    private let lock: Int32

    private static let prefix = "raystore-demo-"

    /// Large files are to go here: /tmp is in memory on many machines.
    private static var parent: String {
        let named = ProcessInfo.processInfo.environment["TMPDIR"] ?? ""
        return named.hasPrefix("/") ? named : "/var/tmp"
    }

    /// - Throws: `Failure` when there is no place for it, or less room than is needed.
    init(neededBytes: Int) throws {
        var template = Array((Self.parent + "/" + Self.prefix + "XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw Failure(
                "no directory can be made in \(Self.parent): \(String(cString: strerror(errno))); set TMPDIR to one that can be written"
            )
        }
        let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        self.path = path
        tag = String(path.suffix(6))
        lock = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        flock(lock, LOCK_EX | LOCK_NB)
        var disk = statvfs()
        guard statvfs(path, &disk) == 0 else { return }
        let free = UInt64(disk.f_bavail) * UInt64(disk.f_frsize)
        if free < UInt64(neededBytes) {
            remove()
            throw Failure(
                "the demo needs \(Amounts.bytes(UInt64(neededBytes))) in \(Self.parent) and \(Amounts.bytes(free)) are free: set TMPDIR to a "
                    + "larger disk, or give a smaller --size")
        }
    }

    /// Where a node of the demo keeps its things.
    func stateDirectory(_ name: String) -> StateDirectory {
        StateDirectory(path + "/" + name)
    }

    /// Files below a folder, without those that a node keeps for itself in its state directory.
    static func leftovers(in folder: String) -> [String] {
        let own: Set<String> = ["lock", "node.log", "cluster.key", "storage-owner", "partial.session"]
        guard let all = FileManager.default.enumerator(atPath: folder) else { return [] }
        return all.compactMap { $0 as? String }.filter { name in
            !own.contains(name) && !name.contains(".sqlite") && !Paths.isDirectory(folder + "/" + name)
        }
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
        close(lock)
    }

    /// Leaves everything in place, also for the demos to come.
    func keep() {
        unlink(path + "/lock")
        close(lock)
    }

    /// Removes what killed demos of this user have left, and answers their tags.
    static func sweep() -> [String] {
        var tags: [String] = []
        for name in (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? [] where name.hasPrefix(prefix) {
            let path = parent + "/" + name
            var info = stat()
            guard lstat(path, &info) == 0, info.st_uid == geteuid(), info.st_mode & S_IFMT == S_IFDIR else { continue }
            // Without its lock it was left on purpose, or is just being made; one that is locked is at work.
            let lock = open(path + "/lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            guard lock >= 0 else { continue }
            if flock(lock, LOCK_EX | LOCK_NB) == 0 {
                try? FileManager.default.removeItem(atPath: path)
                tags.append(String(name.dropFirst(prefix.count)))
            }
            close(lock)
        }
        return tags
    }
}
