// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore

/// A failure of the tool itself, in one line that names the thing and says what to do.
struct Failure: Error, Sendable {
    let message: String
    let exitCode: Int32

    init(_ message: String, exitCode: Int32 = 1) {
        self.message = message
        self.exitCode = exitCode
    }
}

extension Failure {
    /// Says what went wrong, in one line on standard error, and answers the exit code.
    static func report(_ error: any Error) -> Int32 {
        switch error {
        case let failure as Failure:
            Console.complain(failure.message)
            return failure.exitCode
        case let error as RayStoreError:
            Console.complain(error.message)
            return 1
        case let interruption as Interruption:
            Console.complain("stopped by \(interruption.name)")
            return interruption.exitCode
        case is OutputClosed:
            // Whoever read our output wanted no more of it, as in `raystore list | head -1`.
            return 128 + SIGPIPE
        default:
            return reportParsing(error)
        }
    }

    /// Help and version go to standard output; a mistake in the arguments is one line and exit code 64.
    private static func reportParsing(_ error: any Error) -> Int32 {
        let code = RayStoreCommand.exitCode(for: error)
        if code.isSuccess {
            let text = RayStoreCommand.fullMessage(for: error)
            return text.isEmpty || (try? Console.say(text)) != nil ? code.rawValue : 128 + SIGPIPE
        }
        let message = RayStoreCommand.message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
        guard !message.isEmpty else { return code.rawValue }
        if code == .validationFailure {
            Console.complain("\(message.trimmed); see '\(helpCommand)'")
        } else {
            Console.complain(message.trimmed)
        }
        return code.rawValue
    }

    private static var helpCommand: String {
        let names = RayStoreCommand.configuration.subcommands.compactMap { $0.configuration.commandName }
        guard let name = CommandLine.arguments.dropFirst().first, names.contains(name) else { return "raystore --help" }
        return "raystore \(name) --help"
    }
}

extension String {
    fileprivate var trimmed: String {
        var text = trimmingCharacters(in: .whitespaces)
        if text.hasSuffix(".") { text.removeLast() }
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}
