// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore
internal import RayStoreNode

struct PrefetchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prefetch",
        abstract: "Have a node fetch a copy before it is asked for.",
        discussion: """
              raystore prefetch train --node 3f2a --wait
              raystore prefetch train --node 3f2a --end

            The node keeps the copy for ten minutes, or as --keep says, or until --end; a get there is local meanwhile. Without --wait the command \
            ends when the transfer has begun.
            """)

    @Argument(help: ArgumentHelp("A ref or a name.", valueName: "ref-or-name"))
    var object: String

    @Option(
        help: ArgumentHelp(
            "The first digits of the node's id, as 'raystore status' shows it. (default: this machine's)", valueName: "node"))
    var node: String?

    @Flag(help: "Wait until the copy is there.")
    var wait = false

    @Option(help: ArgumentHelp("Give up waiting after so many seconds; the transfer goes on.", valueName: "seconds"))
    var timeout: Double?

    @Option(help: ArgumentHelp("For how long the copy is kept.", valueName: "seconds"))
    var keep: Double = 600

    @Flag(help: "Let the node give up what it has prefetched.")
    var end = false

    @OptionGroup(title: "Transfer") var tuning: TuningChoice
    @OptionGroup var names: NamespaceChoice
    @OptionGroup var choice: NodeChoice

    func validate() throws {
        if end, wait { throw ValidationError("--end ends a prefetch, --wait waits for one: give one of them") }
        if !(keep > 0 && keep < 1e9) { throw ValidationError("--keep \(keep) is not a number of seconds") }
        if let timeout, !(timeout > 0 && timeout < 1e9) {
            throw ValidationError("--timeout \(timeout) is not a number of seconds")
        }
    }

    func run() async throws {
        let command = self
        try await interruptible {
            try await Connection.with(command.choice, namespace: command.names.namespace) { try await command.run(in: $0) }
        }
    }

    private func run(in session: Session) async throws {
        let target = try await node(in: session)
        let ref: ObjectRef<RayFile> = try await Connection.open(object, in: session, namespace: names.namespace)
        if end {
            try await session.endPrefetch(ref, on: target)
        } else {
            try await session.prefetch(
                ref, on: target, keepFor: .seconds(keep), untilThere: wait, timeout: timeout.map { .seconds($0) },
                tuning: tuning.tuning)
        }
    }

    private func node(in session: Session) async throws -> NodeID? {
        guard let text = node?.lowercased() else { return nil }
        let nodes = try await Connection.report("nodes", as: [NodeDescription].self, from: session)
        let found = nodes.filter { !text.isEmpty && $0.id.description.hasPrefix(text) }
        guard let only = found.first else {
            throw Failure("there is no node '\(text)' in the cluster: 'raystore status' shows those that are")
        }
        guard found.count == 1 else { throw Failure("'\(text)' are the first digits of \(found.count) nodes: give more of them") }
        return only.id
    }
}
