// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore

/// Makes a file that is seen under its name only when it is complete.
///
/// The core's copy keeps a store file's read-only mode and cannot be stopped in the middle; a file that a user fetches is the user's to write,
/// and Ctrl-C ends its copy.
enum FileWriter {
    /// Where the bytes come from.
    enum Source: Sendable {
        case file(path: String)
        case memory(PinnedValue)
        case bytes(Bytes)
    }

    /// Refuses a destination that cannot be written before anything is fetched for it.
    ///
    /// - Throws: `Failure` naming the path.
    static func check(_ destination: String, force: Bool) throws {
        let folder = parent(of: destination)
        guard Paths.isDirectory(folder) else {
            throw Failure("there is no directory \(folder) to put \(Paths.name(of: destination)) in: make it first")
        }
        guard access(folder, W_OK | X_OK) == 0 else {
            throw Failure("the directory \(folder) cannot be written: \(String(cString: strerror(errno)))")
        }
        var info = stat()
        guard lstat(destination, &info) == 0 else { return }
        if !force { throw Failure("\(destination) exists: choose another path with -o, or give --force to replace it") }
        // A device or a pipe replaced by a file would be missed by the whole machine.
        guard info.st_mode & S_IFMT == S_IFREG || info.st_mode & S_IFMT == S_IFLNK else {
            throw Failure("\(destination) is not a file, so it is not replaced: choose another path with -o")
        }
    }

    /// Writes the file: all of it, under its name, or nothing.
    ///
    /// - Throws: `Failure` or `RayStoreError` naming the path; `CancellationError`.
    static func write(_ source: Source, to destination: String, force: Bool) async throws {
        try await runCancellable { (isCancelled) throws(RayStoreError) in
            try writeNow(source, to: destination, force: force, isCancelled: isCancelled)
        }
    }

    /// Copies to standard output or another open file.
    static func copy(_ path: String, to descriptor: Int32) async throws {
        let outcome = try await runCancellable { (isCancelled) throws(RayStoreError) -> Int32 in
            let input = try opened(path)
            defer { close(input) }
            return try pour(input, into: descriptor, isCancelled: isCancelled)
        }
        if outcome == EPIPE { throw OutputClosed() }
        guard outcome == 0 else { throw Failure("standard output cannot be written: \(String(cString: strerror(outcome)))") }
    }

    private static func writeNow(
        _ source: Source, to destination: String, force: Bool, isCancelled: CancelFlag
    ) throws(RayStoreError) {
        let partial = parent(of: destination) + "/." + String(Paths.name(of: destination).prefix(100)) + ".raystore-\(getpid())"
        let output = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard output >= 0 else { throw failure("\(partial) cannot be made") }
        var isPlaced = false
        defer {
            close(output)
            if !isPlaced { unlink(partial) }
        }
        var outcome: Int32 = 0
        switch source {
        case .file(let path):
            let input = try opened(path)
            defer { close(input) }
            outcome = try pour(input, into: output, isCancelled: isCancelled)
        case .memory(let value):
            outcome = try value.object.withUnsafeBytes { bytes throws(RayStoreError) in
                try write(bytes, into: output, isCancelled: isCancelled)
            }
        case .bytes(let value):
            outcome = try value.withUnsafeBytes { bytes throws(RayStoreError) in
                try write(bytes, into: output, isCancelled: isCancelled)
            }
        }
        guard outcome == 0 else { throw failure("\(destination) cannot be written", outcome) }
        // A file that came into being meanwhile is not replaced: a link never replaces one, a rename does.
        if force {
            guard rename(partial, destination) == 0 else { throw failure("\(destination) cannot be replaced") }
            isPlaced = true
        } else if link(partial, destination) != 0 {
            guard errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK else { throw failure("\(destination) cannot be made") }
            // No hard links on this file system: the look comes as close to the rename as it can.
            guard !Paths.exists(destination) else { throw failure("\(destination) cannot be made", EEXIST) }
            guard rename(partial, destination) == 0 else { throw failure("\(destination) cannot be made") }
            isPlaced = true
        }
    }

    /// Answers 0, or the errno of the write.
    private static func write(
        _ bytes: UnsafeRawBufferPointer, into output: Int32, isCancelled: CancelFlag
    ) throws(RayStoreError) -> Int32 {
        for start in stride(from: 0, to: bytes.count, by: stepBytes) {
            try isCancelled.check()
            let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + stepBytes, bytes.count)])
            guard Console.writeAll(piece, to: output) else { return errno }
        }
        return 0
    }

    private static func opened(_ path: String) throws(RayStoreError) -> Int32 {
        let input = open(path, O_RDONLY | O_CLOEXEC)
        guard input >= 0 else { throw failure("\(path) cannot be read") }
        return input
    }

    private static let stepBytes = 16 << 20

    /// Copies from the start to the end, sharing the blocks where the file system can. Answers 0, or the errno of the write.
    private static func pour(_ input: Int32, into output: Int32, isCancelled: CancelFlag) throws(RayStoreError) -> Int32 {
        let ficlone: UInt = 0x4004_9409  // FICLONE, which is a macro that Swift does not see
        if ioctl(output, ficlone, input) == 0 { return 0 }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            try isCancelled.check()
            let count = read(input, buffer.baseAddress, buffer.count)
            if count == 0 { return 0 }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("a file of the store cannot be read") }
            guard Console.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to: output) else { return errno }
        }
    }

    private static func failure(_ what: String, _ number: Int32 = errno) -> RayStoreError {
        let code: RayStoreError.Code = number == ENOSPC || number == EDQUOT ? .outOfDisk : number == EEXIST ? .exists : .system
        return RayStoreError(code, "\(what): \(String(cString: strerror(number)))", systemErrno: number)
    }

    private static func parent(of path: String) -> String {
        let folder = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
        return folder.isEmpty ? "/" : String(folder)
    }
}

/// A pinned object that several may look at.
final class PinnedValue: Sendable {
    let object: PinnedObject

    init(_ object: consuming PinnedObject) {
        self.object = object
    }
}
