// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore
internal import RayStoreNode

struct MemoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory",
        abstract: "Show what takes memory and disk on each node, and who holds it.",
        discussion: """
              raystore memory
              raystore memory --group-by client

            Largest first. SPILLED is what an object's record takes in the storage, also of one that is back in memory: its memory can be \
            given up again without writing. CREATOR is the process that made the object on that node, which may have ended since, AGE the time since then. REFS \
            counts the processes of that node that refer to the object, PINS those that are reading it, NODES the other nodes that refer to it \
            (known at its owner): as long as one of them is not 0, or the object is detached, it is kept.

            --group-by client: a line for each process that is connected, with what it has made, reads and refers to; what ended processes \
            have made is in one line. --group-by creator: a line for each process that has made something that is still there.
            """)

    enum Grouping: String, ExpressibleByArgument, CaseIterable {
        case none, client, creator
    }

    @OptionGroup var choice: NodeChoice

    @Option(help: "What a line stands for: an object (none), a connected process (client), or who made it (creator).")
    var groupBy = Grouping.none

    @Flag(help: "Print one JSON document: everything, however it is grouped.")
    var json = false

    func run() async throws {
        let choice = choice
        let report = try await interruptible {
            try await Connection.with(choice) { try await Connection.report("memory", as: ObjectsReport.self, from: $0) }
        }
        try json ? Console.say(json: report) : Console.say(Self.text(report, groupedBy: groupBy))
    }

    static func text(_ report: ObjectsReport, groupedBy grouping: Grouping) -> String {
        let objects = Dictionary(grouping: report.objects, by: \.node)
        let clients = Dictionary(grouping: report.clients ?? [], by: \.node)
        var lines: [String] = []
        for node in report.nodes {
            let name = node.node.id.short
            lines += MemoryText.summary(of: node)
            let table =
                switch grouping {
                case .none: MemoryText.table(of: objects[name, default: []])
                case .client: MemoryText.table(of: clients[name, default: []])
                case .creator: MemoryText.table(ofCreatorsOf: objects[name, default: []])
                }
            if !table.rows.isEmpty { lines += table.lines(indent: 2) }
        }
        return (lines + StatusCommand.silent(report.silent)).joined(separator: "\n")
    }
}
