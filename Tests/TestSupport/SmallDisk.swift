// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// A file system of a test's own that is soon full: a tmpfs, mounted below the folder for temporary files. Needs root.
package final class SmallDisk: Sendable {
    package let path: String

    /// Whether this process may mount one; tried once.
    package static let isPossible: Bool = (try? SmallDisk(bytes: 1 << 20))?.remove() != nil

    package init(bytes: Int) throws {
        path = temporaryFolder() + "/raystore-disk-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard mount("none", path, "tmpfs", 0, "size=\(bytes),mode=700") == 0 else {
            let reason = String(cString: strerror(errno))
            rmdir(path)
            throw SetUpFailure("no file system can be mounted here: \(reason)")
        }
    }

    /// What is left, as df says it.
    package var free: Int {
        var room = statvfs()
        guard statvfs(path, &room) == 0 else { return 0 }
        return Int(room.f_bavail) * Int(room.f_frsize)
    }

    /// Takes all that is left but so many bytes, as somebody else who writes there.
    package func fill(leaving bytes: Int) throws {
        let file = open(path + "/filler", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SetUpFailure("no filler") }
        defer { close(file) }
        let block = [UInt8](repeating: 7, count: 64 << 10)
        while free > bytes + block.count, write(file, block, block.count) > 0 {}
    }

    package func unfill() {
        unlink(path + "/filler")
    }

    /// Files of objects, partial ones included, as paths from the disk's root.
    package func files() -> [String] {
        let all = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
        return all.filter { $0.contains("/jobs/") || $0.contains("/partial/") }.filter { name in
            var isDirectory = ObjCBool(false)
            return FileManager.default.fileExists(atPath: path + "/" + name, isDirectory: &isDirectory)
                && !isDirectory.boolValue
        }.sorted()
    }

    package func remove() {
        // What was just closed may still be busy for a moment.
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
    }
}
