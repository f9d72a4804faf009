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

            Largest first. REFS counts the processes of that node that refer to the object, PINS those that are reading it, NODES the other \
            nodes that refer to it (known at its owner): as long as one of them is not 0, or the object is detached, it is kept.
            """)

    @OptionGroup var choice: NodeChoice

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        let choice = choice
        let report = try await interruptible {
            try await Connection.with(choice) { try await Connection.report("memory", as: ObjectsReport.self, from: $0) }
        }
        try json ? Console.say(json: report) : Console.say(Self.text(report))
    }

    static func text(_ report: ObjectsReport) -> String {
        let rows = Dictionary(grouping: report.objects, by: \.node)
        var lines: [String] = []
        for node in report.nodes {
            let name = node.node.id.short
            lines.append(
                "\(name) at \(StatusCommand.address(node.node)): \(Amounts.bytes(node.usedBytes)) of \(Amounts.bytes(node.capacityBytes)) of "
                    + "memory used, \(Amounts.bytes(node.pinnedBytes)) being read; "
                    + "\(Amounts.count(node.fileCount, "file")) with \(Amounts.bytes(node.fileBytes)) on disk; "
                    + StatusCommand.spilling(node))
            let objects = rows[name, default: []].sorted { ($0.size, $1.object.description) > ($1.size, $0.object.description) }
            if objects.isEmpty { continue }
            var table = Table(
                .init("REF"), .init("KIND"), .init("SIZE", .right), .init("IN MEMORY", .right), .init("JOB", .right),
                .init("REFS", .right), .init("PINS", .right), .init("NODES", .right), .init("STATE"))
            for object in objects {
                let standing = [object.state, object.isOwner ? "owner" : "copy"] + (object.isDetached ? ["detached"] : [])
                table.add(
                    object.object.description, object.kind, Amounts.bytes(object.size), Amounts.bytes(object.memoryBytes),
                    object.job.description, String(object.referringClients), String(object.pinningClients),
                    String(object.borrowers),
                    standing.joined(separator: ", "))
            }
            lines += table.lines(indent: 2)
        }
        return (lines + StatusCommand.silent(report.silent)).joined(separator: "\n")
    }
}
