// SPDX-License-Identifier: Apache-2.0
package import Foundation

/// A process that a test started: its output line by line, a way to kill it, and its end in any case.
package final class TestProcess: @unchecked Sendable {
    private let process: SpawnedProcess
    /// The process lives until its input ends, at the latest; so this end is kept open.
    private let input: FileHandle
    private let lines: AsyncStream<String>

    /// Where the built programs are: beside the test bundle.
    package static let programs: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        // By hand: Foundation's deletingLastPathComponent (Swift 6.3.1) ends the process when it meets a text of one character.
        return ([own] + CommandLine.arguments).compactMap { path in path.lastIndex(of: "/").map { String(path[..<$0]) } }
            .first { FileManager.default.isExecutableFile(atPath: $0 + "/raystore") } ?? ".build/debug"
    }()

    /// - Parameters:
    ///   - program: one of the built ones, or a path.
    ///   - wrapper: a command that becomes the program, such as `ip netns exec NAME`.
    package init(_ program: String, _ arguments: [String], errors: FileHandle? = nil, wrapper: [String] = []) throws {
        let theirs = try SpawnedProcess.pipe()
        let ours = try SpawnedProcess.pipe()
        let childInput = FileHandle(fileDescriptor: theirs.reading, closeOnDealloc: true)
        let childOutput = FileHandle(fileDescriptor: ours.writing, closeOnDealloc: true)
        input = FileHandle(fileDescriptor: theirs.writing, closeOnDealloc: true)
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        self.lines = lines
        Self.read(ours.reading, into: continuation)
        let command = wrapper + [program.contains("/") ? program : Self.programs + "/" + program] + arguments
        process = try SpawnedProcess(
            wrapper.isEmpty ? command[0] : "/usr/bin/env", wrapper.isEmpty ? arguments : command, input: theirs.reading,
            output: ours.writing,
            errors: (errors ?? FileHandle.standardError).fileDescriptor)
        // The child has its copies; with ours open its end would not be seen.
        try childInput.close()
        try childOutput.close()
    }

    /// Takes the lines from a pipe until its last writer has gone, on a thread of its own. Foundation's readability handlers are not used: when such
    /// a handle goes before its event has been handled, libdispatch (Swift 6.3.1) follows a pointer to nowhere.
    private static func read(_ descriptor: Int32, into lines: AsyncStream<String>.Continuation) {
        Thread.detachNewThread {
            let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            var rest = Data()
            while true {
                // As much as there is; nothing at the end.
                let data = handle.availableData
                if data.isEmpty { break }
                rest.append(data)
                while let end = rest.firstIndex(of: 10) {
                    lines.yield(String(decoding: rest[rest.startIndex..<end], as: UTF8.self))
                    rest = Data(rest[rest.index(after: end)...])
                }
            }
            lines.finish()
        }
    }

    package var pid: Int32 { process.processIdentifier }
    package var isRunning: Bool { process.isRunning }
    /// The signal that it crashed with.
    package var crash: Int32? { process.crash }

    /// The lines up to and without the one that is `mark`; nil when the output ends before it, or the time does.
    package func output(until mark: String, within limit: Duration = patience) async -> [String]? {
        let lines = lines
        return await Self.within(limit) {
            var collected: [String] = []
            for await line in lines {
                if line == mark { return collected }
                collected.append(line)
            }
            return nil
        }
    }

    /// The next line of output; nil at its end, or when none comes in time. After that no more can be read.
    package func nextLine(within limit: Duration = patience) async -> String? {
        let lines = lines
        return await Self.within(limit) {
            var iterator = lines.makeAsyncIterator()
            return await iterator.next()
        }
    }

    /// Far above what a loaded machine takes to start a process and for that to say something: without a limit a test whose process is silent
    /// would never end.
    package static let patience = Duration.seconds(120)

    /// A stream's iteration ends when its task is cancelled.
    private static func within<Value: Sendable>(
        _ limit: Duration, _ body: @escaping @Sendable () async -> Value?
    ) async -> Value? {
        await withTaskGroup(of: Value?.self) { group in
            group.addTask { await body() }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }

    /// Gives the process a line to read.
    package func tell(_ line: String) throws {
        try input.write(contentsOf: Data("\(line)\n".utf8))
    }

    package func signal(_ number: Int32) {
        process.signal(number)
    }

    /// Ends the process and waits for its end.
    @discardableResult
    package func end(with number: Int32 = SIGKILL) -> Int32 {
        signal(number)
        process.waitUntilExit()
        return process.terminationStatus
    }
}
