// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore

/// A node in a process of its own, started by this one with the same program.
final class NodeProcess: Sendable {
    let child: ChildProcess
    let launch: NodeLaunch

    /// The writing end of the node's standard input, when it is to end with this process; else -1.
    private let leash: Int32

    /// What a node's life hangs on besides signals and `raystore stop`: the end of a stream that is its standard input.
    enum Leash {
        case none
        /// This process, however it ends.
        case thisProcess
        /// Whoever holds the other end of this process's standard input.
        case standardInput
    }

    private init(child: ChildProcess, launch: NodeLaunch, leash: Int32) {
        self.child = child
        self.launch = launch
        self.leash = leash
    }

    deinit {
        if leash >= 0 { close(leash) }
    }

    /// Starts a node and returns when it serves. A node that is not ready in a minute, or when the task is cancelled, is ended.
    ///
    /// - Parameters:
    ///   - wrapper: a command that runs the node's command, such as one that enters a network namespace.
    ///   - leash: what ends the node when it ends.
    /// - Throws: `Failure` with the node's own words.
    static func start(_ setup: NodeSetup, wrapper: [String] = [], leash kind: Leash = .none) async throws -> NodeProcess {
        let isNew = try setup.stateDirectory.makePrivate()
        let program = try ownPath()
        let (reading, writing) = try makePipe()
        defer { close(reading) }
        let (input, leash) = kind == .thisProcess ? try makePipe() : (STDIN_FILENO, -1)
        let child: ChildProcess
        do {
            defer {
                close(writing)
                if kind == .thisProcess { close(input) }
            }
            let arguments = wrapper + [program] + setup.arguments + ["--ready-pipe"] + (kind == .none ? [] : ["--leash"])
            child = try ChildProcess(
                arguments,
                .init(log: setup.stateDirectory.log, input: kind == .none ? nil : input, readiness: writing))
        } catch {
            if leash >= 0 { close(leash) }
            throw error
        }
        let answer = try await firstAnswer(of: child, reading: reading)
        switch answer {
        case .ready(var launch):
            launch.log = setup.stateDirectory.log
            return NodeProcess(child: child, launch: launch, leash: leash)
        case .failed(let reason):
            if leash >= 0 { close(leash) }
            await child.end(grace: .seconds(5))
            if isNew { setup.stateDirectory.removeAfterFailure() }
            throw Failure(reason)
        case nil:
            if leash >= 0 { close(leash) }
            let isOurs = Task.isCancelled
            await child.end(grace: .seconds(5))
            if isOurs {
                if isNew { setup.stateDirectory.removeAfterFailure() }
                throw CancellationError()
            }
            throw Failure("the node ended before it was ready; \(setup.stateDirectory.log) says why")
        }
    }

    private static func makePipe() throws -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure("no pipe can be made: \(String(cString: strerror(errno)))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
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
