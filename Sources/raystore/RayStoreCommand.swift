// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore

/// The command line tool.
@main
struct RayStoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "raystore",
        abstract: "Share files and large objects between the machines of a cluster.",
        discussion: """
            On the first machine:   raystore start --head
            On every other one:     raystore start --address HOST:PORT --key-file FILE   (the first prints this line)
            Put a file:             raystore put train.jsonl --name train
            Fetch it elsewhere:     raystore get train -o .
            See it all at work:     raystore demo

            To complete commands with the tab key, in bash: raystore --generate-completion-script bash > \
            /etc/bash_completion.d/raystore
            """,
        version: RayStoreVersion.text,
        subcommands: [
            StartCommand.self, StopCommand.self, StatusCommand.self, PutCommand.self, GetCommand.self, RemoveCommand.self,
            ListCommand.self, MemoryCommand.self, PrefetchCommand.self, ServeCommand.self, FetchCommand.self,
            DemoCommand.self,
        ])

    static func main() async {
        // A closed pipe is then an error of the write that met it, not the end of a node.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            Foundation.exit(Failure.report(error))
        }
    }
}
