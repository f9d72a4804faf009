// SPDX-License-Identifier: Apache-2.0
package import Foundation
internal import Synchronization

/// A process that a test started: its output line by line, a way to kill it, and its end in any case.
package final class TestProcess: @unchecked Sendable {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let lines: AsyncStream<String>

    /// Where the built programs are: beside the test bundle.
    package static let programs: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return ([own] + CommandLine.arguments).map { ($0 as NSString).deletingLastPathComponent }
            .first { FileManager.default.isExecutableFile(atPath: $0 + "/raystore") } ?? ".build/debug"
    }()

    package init(_ program: String, _ arguments: [String], errors: FileHandle? = nil) throws {
        process.executableURL = URL(fileURLWithPath: Self.programs + "/" + program)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        process.standardError = errors ?? FileHandle.standardError
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        self.lines = lines
        let buffer = Mutex(Data())
        output.fileHandleForReading.readabilityHandler = { handle in
            let data = handle.availableData
            if data.isEmpty {
                handle.readabilityHandler = nil
                continuation.finish()
                return
            }
            buffer.withLock { buffer in
                buffer.append(data)
                while let end = buffer.firstIndex(of: 10) {
                    continuation.yield(String(decoding: buffer[buffer.startIndex..<end], as: UTF8.self))
                    buffer = Data(buffer[buffer.index(after: end)...])
                }
            }
        }
        try process.run()
    }

    package var pid: Int32 { process.processIdentifier }
    package var isRunning: Bool { process.isRunning }

    /// The lines up to and without the one that is `mark`; nil when the output ends before it.
    package func output(until mark: String) async -> [String]? {
        var collected: [String] = []
        for await line in lines {
            if line == mark { return collected }
            collected.append(line)
        }
        return nil
    }

    /// The next line of output, nil at its end.
    package func nextLine() async -> String? {
        var iterator = lines.makeAsyncIterator()
        return await iterator.next()
    }

    package func signal(_ number: Int32) {
        if process.isRunning { kill(process.processIdentifier, number) }
    }

    /// Ends the process and waits for its end.
    @discardableResult
    package func end(with number: Int32 = SIGKILL) -> Int32 {
        signal(number)
        process.waitUntilExit()
        return process.terminationStatus
    }
}
