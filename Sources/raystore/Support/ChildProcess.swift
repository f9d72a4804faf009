// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import Synchronization

/// A process that the tool started.
final class ChildProcess: Sendable {
    let pid: pid_t
    private let exitStatus = Mutex<Int32?>(nil)

    /// What the child gets in place of our own descriptors.
    struct Streams {
        /// Standard output and error are appended to this file.
        var log: String
        /// Becomes the child's standard input; nil for /dev/null.
        var input: Int32?
        /// Becomes the child's descriptor 3.
        var readiness: Int32?
    }

    /// Starts a program in a session of its own: it outlives us and hears no Ctrl-C of our terminal.
    ///
    /// - Throws: `Failure` naming the program, or the log file.
    init(_ arguments: [String], _ streams: Streams) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let log = open(streams.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else {
            throw Failure("the log \(streams.log) cannot be written: \(String(cString: strerror(errno)))")
        }
        defer { close(log) }
        if let input = streams.input {
            posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        } else {
            posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, log, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO)
        // Descriptor 3 comes from a dup2 also when it is 3 already: that is what takes close-on-exec away.
        if let readiness = streams.readiness { posix_spawn_file_actions_adddup2(&actions, readiness, 3) }
        Self.keepDescriptorsFromChildren()

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        let setsid: Int32 = 0x80  // POSIX_SPAWN_SETSID, which glibc shows to GNU programs only
        posix_spawnattr_setflags(&attributes, Int16(setsid | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        // What we ignore, a program would go on ignoring.
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)

        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let result = posix_spawnp(&pid, arguments[0], &actions, &attributes, &words, environ)
        guard result == 0 else {
            throw Failure("\(arguments[0]) cannot be started: \(String(cString: strerror(result)))")
        }
        self.pid = pid
    }

    /// Whoever called the tool may have handed down descriptors, and may wait for their ends: a daemon must not hold them. Ours are marked
    /// already. (glibc closes from a number on by a call that Swift does not see.)
    private static func keepDescriptorsFromChildren() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            guard let descriptor = Int32(name), descriptor > STDERR_FILENO else { continue }
            let flags = fcntl(descriptor, F_GETFD)
            if flags >= 0 { _ = fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC) }
        }
    }

    /// Collects the exit status if the child has ended: its exit code, or 128 and its signal.
    func poll() -> Int32? {
        exitStatus.withLock { status in
            if let status { return status }
            var raw: Int32 = 0
            guard waitpid(pid, &raw, WNOHANG) == pid else { return nil }
            status = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F)
            return status
        }
    }

    var isRunning: Bool { poll() == nil }

    func send(_ signal: Int32) {
        exitStatus.withLock { status in
            // Until it is collected the pid is the child's, or its zombie's.
            if status == nil { kill(pid, signal) }
        }
    }

    /// Waits for its end, whether our task is cancelled or not; false when the time ran out first.
    func waitForExit(_ timeout: Duration) async -> Bool {
        let deadline = ContinuousClock.now + timeout
        while isRunning {
            guard ContinuousClock.now < deadline else { return false }
            await pause(.milliseconds(10))
        }
        return true
    }

    /// Ends it: first by asking, then without.
    func end(grace: Duration) async {
        send(SIGTERM)
        if await waitForExit(grace) { return }
        send(SIGKILL)
        _ = await waitForExit(.seconds(5))
    }
}

/// Sleeps also in a cancelled task, which is when things are cleaned up.
func pause(_ duration: Duration) async {
    await withCheckedContinuation { continuation in
        let nanoseconds = Int(duration / .nanoseconds(1))
        DispatchQueue.global().asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { continuation.resume() }
    }
}
