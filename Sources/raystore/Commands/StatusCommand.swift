// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore
internal import RayStoreNode

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the nodes of the cluster: memory, objects, files, traffic.",
        discussion: """
              raystore status
              raystore status --json

            The node that was asked is marked with '*'. WIRE is what went over the network for the bytes beside it: less when compression paid. \
            Below the table is where each node spills to when its memory is short, what lies there now, and what went there and came back \
            since its start, with the rate while it was under way.
            """)

    @OptionGroup var choice: NodeChoice

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        let choice = choice
        let report = try await interruptible {
            try await Connection.with(choice) { try await Connection.report("status", as: ClusterReport.self, from: $0) }
        }
        try json ? Console.say(json: report) : Console.say(Self.text(report))
    }

    static func text(_ report: ClusterReport) -> String {
        var table = Table(
            .init("NODE"), .init("ADDRESS"), .init("MEMORY", .right), .init("OF", .right), .init("OBJECTS", .right),
            .init("FILES", .right), .init("FILE BYTES", .right), .init("CLIENTS", .right), .init("SENT", .right),
            .init("WIRE", .right), .init("RECEIVED", .right), .init("WIRE", .right))
        for node in report.nodes {
            let mark = node.node.id == report.node ? "*" : ""
            table.add(
                node.node.id.short + mark, address(node.node), Amounts.bytes(node.usedBytes), Amounts.bytes(node.capacityBytes),
                String(node.objectCount), String(node.fileCount), Amounts.bytes(node.fileBytes), String(node.clientCount),
                Amounts.bytes(node.sentBytes), Amounts.bytes(node.sentWireBytes), Amounts.bytes(node.receivedBytes),
                Amounts.bytes(node.receivedWireBytes))
        }
        var lines = [table.text()]
        for node in report.nodes where node.corruptChunks + node.retriedChunks + node.refusedConnections > 0 {
            lines.append(
                "\(node.node.id.short): \(node.corruptChunks) chunks did not match their checksum, \(node.retriedChunks) were asked for again, "
                    + "\(node.refusedConnections) connections were refused")
        }
        lines += report.nodes.compactMap { node in node.sums.flatMap(sums).map { "\(node.node.id.short): \($0)" } }
        for node in report.nodes {
            lines.append("\(node.node.id.short): \(SpillText.summary(of: node))")
            lines += SpillText.history(of: node).map { "  " + $0 }
        }
        lines += report.nodes.compactMap { node in node.disk.map { "\(node.node.id.short): \(disk($0))" } }
        return (lines + silent(report.silent)).joined(separator: "\n")
    }

    /// Who computed checksums; nil when nobody did.
    static func sums(_ sums: SumsReport) -> String? {
        guard sums.hashedBytes + sums.aheadBytes + sums.givenBytes + sums.pendingBytes > 0 else { return nil }
        var text =
            "checksums: \(Amounts.bytes(sums.givenBytes)) hashed while they were put, \(Amounts.bytes(sums.aheadBytes)) ahead, "
            + "\(Amounts.bytes(sums.hashedBytes)) while they were sent"
        if sums.pendingCount > 0 { text += "; \(Amounts.bytes(sums.pendingBytes)) waiting" }
        return text
    }

    /// What files have of their disk.
    static func disk(_ disk: DiskReport) -> String {
        var text =
            "disk: \(Amounts.bytes(disk.freeBytes)) of \(Amounts.bytes(disk.totalBytes)) free, files leave "
            + Amounts.bytes(disk.keptBytes)
        if disk.droppedFileCount > 0 {
            text +=
                "; \(Amounts.count(Int(clamping: disk.droppedFileCount), "file")) of other nodes, "
                + "\(Amounts.bytes(disk.droppedFileBytes)), went to make room"
        }
        if disk.movedFileCount > 0 {
            text += "; \(Amounts.count(disk.movedFileCount, "file")), \(Amounts.bytes(disk.movedFileBytes)), moved to the storage"
        }
        if disk.partialFileCount > 0 {
            text +=
                "; \(Amounts.count(disk.partialFileCount, "file")) in part, \(Amounts.bytes(disk.partialFileBytes)), "
                + "from before the node's start"
        }
        if disk.waitingCount > 0 { text += "; \(Amounts.count(disk.waitingCount, "file")) waiting for room" }
        return text
    }

    static func address(_ node: NodeDescription) -> String {
        node.host.contains(":") ? "[\(node.host)]:\(node.controlPort)" : "\(node.host):\(node.controlPort)"
    }

    static func silent(_ nodes: [NodeDescription]) -> [String] {
        nodes.map { "\($0.id.short) at \(address($0)) did not answer" }
    }
}
