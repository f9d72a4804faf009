// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore
internal import RayStoreNode

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show the objects and files of the cluster, with their names.",
        discussion: """
              raystore list
              raystore list --json

            One line for each object. NODES are those that hold a copy, the owner first and marked with '*'. A detached object lives until it \
            is removed; any other as long as somebody refers to it.
            """)

    @OptionGroup var choice: NodeChoice

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        let choice = choice
        let report = try await interruptible {
            try await Connection.with(choice) { try await Connection.report("list", as: ObjectsReport.self, from: $0) }
        }
        try json ? Console.say(json: report) : Console.say(Self.text(report))
    }

    static func text(_ report: ObjectsReport) -> String {
        var rows: [ObjectID: [ObjectReport]] = [:]
        var order: [ObjectID] = []
        for row in report.objects {
            if rows[row.object] == nil { order.append(row.object) }
            rows[row.object, default: []].append(row)
        }
        guard !order.isEmpty else {
            return (["The cluster holds no objects."] + StatusCommand.silent(report.silent)).joined(separator: "\n")
        }
        let names = Dictionary(grouping: report.names, by: \.object)
        var table = Table(
            .init("REF"), .init("KIND"), .init("SIZE", .right), .init("AGE", .right), .init("NODES"), .init("STATE"),
            .init("NAME"), .init("FILE"))
        for object in order.sorted(by: { $0.description < $1.description }) {
            let copies = rows[object, default: []].sorted { $0.isOwner && !$1.isOwner }
            let main = copies.first { $0.isOwner } ?? copies[0]
            let names = names[object, default: []].map { name in
                name.namespace == Connection.defaultNamespace ? name.name : "\(name.namespace)/\(name.name)"
            }
            table.add(
                object.description, main.kind, Amounts.bytes(copies.map(\.size).max() ?? 0), Amounts.age(main.ageSeconds),
                copies.map { $0.node + ($0.isOwner ? "*" : "") }.joined(separator: " "),
                main.isDetached ? "\(main.state), detached" : main.state, names.sorted().joined(separator: ", "),
                main.path.map { Paths.name(of: $0) } ?? "")
        }
        return ([table.text()] + StatusCommand.silent(report.silent)).joined(separator: "\n")
    }
}
