// SPDX-License-Identifier: Apache-2.0
internal import CTestSupport
internal import Glibc
internal import Synchronization

/// A process that a test started; see `test_spawn.h` for why it is not Foundation's.
package final class SpawnedProcess: Sendable {
    package let processIdentifier: Int32
    /// As waitpid told it; nil while it runs.
    private let status = Mutex<Int32?>(nil)

    /// - Parameters:
    ///   - environment: all of its variables; nil for ours.
    ///   - input, output, errors: descriptors that it gets a copy of; nil for /dev/null.
    package init(
        _ path: String, _ arguments: [String], environment: [String: String]? = nil, directory: String? = nil,
        input: Int32? = nil, output: Int32? = nil, errors: Int32? = nil
    ) throws {
        var words = ([path] + arguments).map { strdup($0) } + [nil]
        var variables = (environment ?? [:]).map { strdup("\($0)=\($1)") } + [nil]
        defer { for word in words + variables { free(word) } }
        var pid: pid_t = 0
        let streams = [input ?? -1, output ?? -1, errors ?? -1]
        let result = words.withUnsafeMutableBufferPointer { words in
            variables.withUnsafeMutableBufferPointer { variables in
                test_spawn(path, words.baseAddress, environment == nil ? nil : variables.baseAddress, directory, streams, &pid)
            }
        }
        guard result == 0 else { throw SetUpFailure("\(path) cannot be started: \(String(cString: strerror(result)))") }
        processIdentifier = pid
    }

    private func poll(blocking: Bool) -> Int32? {
        status.withLock { status in
            if let status { return status }
            var raw: Int32 = 0
            guard waitpid(processIdentifier, &raw, blocking ? 0 : WNOHANG) == processIdentifier else { return nil }
            status = raw
            return raw
        }
    }

    package var isRunning: Bool { poll(blocking: false) == nil }

    /// Its exit code, or the number of the signal that ended it; -1 while it runs.
    package var terminationStatus: Int32 {
        guard let raw = poll(blocking: false) else { return -1 }
        return Self.signal(in: raw) == 0 ? (raw >> 8) & 0xff : Self.signal(in: raw)
    }

    /// The signal that it crashed with, one that no test sends; nil while it runs, and when it ended in another way.
    package var crash: Int32? {
        guard let raw = poll(blocking: false) else { return nil }
        let crashes = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS]
        return crashes.contains(Self.signal(in: raw)) ? Self.signal(in: raw) : nil
    }

    /// The number of the signal that ended a process; 0: it ended by itself.
    private static func signal(in raw: Int32) -> Int32 { raw & 0x7f }

    package func waitUntilExit() {
        _ = poll(blocking: true)
    }

    package func signal(_ number: Int32) {
        status.withLock { status in
            // Until it is collected the pid is its own, or its zombie's.
            if status == nil { kill(processIdentifier, number) }
        }
    }

    /// A pipe that no other child inherits.
    package static func pipe() throws -> (reading: Int32, writing: Int32) {
        var reading: Int32 = -1
        var writing: Int32 = -1
        guard test_pipe(&reading, &writing) == 0 else { throw SetUpFailure("no pipe can be made") }
        return (reading, writing)
    }
}
