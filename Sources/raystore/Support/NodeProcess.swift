// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore

/// A node in a process of its own, started by this one with the same program.
final class NodeProcess: Sendable {
    let child: ChildProcess
    let launch: NodeLaunch

    private init(child: ChildProcess, launch: NodeLaunch) {
        self.child = child
        self.launch = launch
    }

    /// Starts a node and returns when it serves. A node that is not ready in a minute, or when the task is cancelled, is ended.
    ///
    /// - Parameter wrapper: a command that runs the node's command, such as one that enters a network namespace.
    /// - Throws: `Failure` with the node's own words.
    static func start(_ setup: NodeSetup, wrapper: [String] = []) async throws -> NodeProcess {
        try setup.stateDirectory.makePrivate()
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw Failure("no pipe can be made: \(String(cString: strerror(errno)))")
        }
        let (reading, writing) = (ends[0], ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(reading) }
        let child: ChildProcess
        do {
            defer { close(writing) }
            let program = try ownPath()
            let arguments = wrapper + [program] + setup.arguments + ["--ready-pipe"]
            child = try ChildProcess(arguments, .init(log: setup.stateDirectory.log, readiness: writing))
        }
        let answer = try await firstAnswer(of: child, reading: reading)
        switch answer {
        case .ready(var launch):
            launch.log = setup.stateDirectory.log
            return NodeProcess(child: child, launch: launch)
        case .failed(let reason):
            await child.end(grace: .seconds(5))
            throw Failure(reason)
        case nil:
            let isOurs = Task.isCancelled
            await child.end(grace: .seconds(5))
            if isOurs { throw CancellationError() }
            throw Failure("the node ended before it was ready; \(setup.stateDirectory.log) says why")
        }
    }

    private static func firstAnswer(of child: ChildProcess, reading: Int32) async throws -> Readiness? {
        let limit = Task {
            try await Task.sleep(for: .seconds(60))
            child.send(SIGKILL)
        }
        defer { limit.cancel() }
        return try await withTaskCancellationHandler {
            let data = try await runBlocking { () throws(RayStoreError) in readAll(reading) }
            return data.isEmpty ? nil : try JSONDecoder().decode(Readiness.self, from: data)
        } onCancel: {
            child.send(SIGTERM)
        }
    }

    private static func readAll(_ descriptor: Int32) -> Data {
        var data = Data()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count > 0 {
                data.append(contentsOf: buffer[..<count])
            } else if count == 0 || errno != EINTR {
                return data
            }
        }
    }

    /// The running program, wherever it was started from.
    private static func ownPath() throws -> String {
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            throw Failure("/proc/self/exe cannot be read, so the program cannot be started again: mount /proc, or use --block")
        }
        return path
    }
}
