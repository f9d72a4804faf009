// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore

struct StopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "Stop the node of this machine.",
        discussion: """
            The node tells the others, removes its objects and files, and ends; the command returns when its process is gone. When the head \
            ends, its cluster ends.

              raystore stop
            """)

    @OptionGroup var choice: NodeChoice

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        let choice = choice
        let process = choice.directory.holder
        try await interruptible {
            try await Connection.with(choice) { session in
                do throws(RayStoreError) {
                    try await session.stopNode()
                } catch {
                    // It may be gone before its answer has arrived.
                    guard error.code == .nodeDied || error.code == .closed || error.code == .peerClosed else { throw error }
                }
            }
            if let process, await !process.waitUntilGone(for: .seconds(30)) {
                try Task.checkCancellation()
                throw Failure(
                    "the node (process \(process.pid)) was asked to stop and has not ended in 30 s: see \(choice.directory.log), or kill it"
                )
            }
        }
        struct Answer: Encodable {
            let stopped: String
            let pid: Int32?
        }
        if json {
            try Console.say(json: Answer(stopped: choice.directory.path, pid: process?.pid))
        } else {
            try Console.say("The node\(process.map { " (process \($0.pid))" } ?? "") has stopped.")
        }
    }
}
