// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore

/// Where a node keeps what it has: its socket, its key, its log, its files.
struct StateDirectory: Hashable, Sendable {
    /// Absolute.
    let path: String

    init(_ path: String) {
        self.path = Paths.absolute(path)
    }

    /// `$XDG_RUNTIME_DIR/raystore`, else `/tmp/raystore-<uid>`.
    static var standard: StateDirectory {
        if let runtime = ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"], runtime.hasPrefix("/") {
            return StateDirectory(runtime + "/raystore")
        }
        return StateDirectory("/tmp/raystore-\(getuid())")
    }

    var socket: String { path + "/node.sock" }
    var key: String { path + "/cluster.key" }
    var log: String { path + "/node.log" }
    var lock: String { path + "/lock" }

    /// Makes the directory, or looks that nobody else can put anything there: what lies in it is trusted.
    ///
    /// - Returns: whether it is new.
    /// - Throws: `Failure` naming the path and what to do.
    @discardableResult
    func makePrivate() throws -> Bool {
        var isNew = false
        var made = ""
        for part in path.split(separator: "/") {
            made += "/" + part
            if mkdir(made, 0o700) == 0 {
                isNew = made.count == path.count
            } else if errno != EEXIST {
                guard !Paths.isDirectory(made) else { continue }
                throw Failure(
                    "the state directory \(path) cannot be made: \(String(cString: strerror(errno))); choose another --state-dir")
            }
        }
        var info = stat()
        guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw Failure("the state directory \(path) is not a directory; choose another --state-dir")
        }
        guard info.st_uid == geteuid(), info.st_mode & 0o022 == 0 else {
            throw Failure(
                "others can write to the state directory \(path): choose another --state-dir, or make it yours with mode 0700")
        }
        return isNew
    }

    /// Removes what a failed start has made in a new directory, unless a node has moved in meanwhile.
    func removeAfterFailure() {
        let descriptor = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        defer { if descriptor >= 0 { close(descriptor) } }
        guard descriptor < 0 || flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return }
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The process whose node has, or had, this directory.
    var holder: ProcessIdentity? {
        guard let text = try? String(contentsOfFile: lock, encoding: .utf8), let pid = pid_t(text) else { return nil }
        return ProcessIdentity(of: pid)
    }
}

/// The option that says which node of this machine is meant.
struct NodeChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The state directory of the node to ask.",
            discussion: "Needed when the node was started with --state-dir. RAYSTORE_SOCKET names a node's socket instead.",
            valueName: "directory"),
        completion: .directory)
    var stateDir: String?

    var directory: StateDirectory { stateDir.map { StateDirectory($0) } ?? .standard }

    /// The socket of the node that is meant.
    var socket: String {
        if stateDir == nil, let socket = ProcessInfo.processInfo.environment["RAYSTORE_SOCKET"], !socket.isEmpty {
            return Paths.absolute(socket)
        }
        return directory.socket
    }
}

enum Paths {
    /// Relative to the working directory, which the node does not share; "~" is the shell's business.
    static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/") else { return path }
        let here = FileManager.default.currentDirectoryPath
        var path = path[...]
        while path.hasPrefix("./") { path = path.dropFirst(2).drop { $0 == "/" } }
        if path.isEmpty || path == "." { return here }
        return (here == "/" ? "" : here) + "/" + path
    }

    /// What comes after the last slash.
    static func name(of path: String) -> String {
        String(path.split(separator: "/").last ?? "/")
    }

    static func isDirectory(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }

    /// Also true for a link that leads nowhere.
    static func exists(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0
    }
}
