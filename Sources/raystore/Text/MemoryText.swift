// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import RayStoreNode

/// The parts of what `raystore memory` prints.
enum MemoryText {
    /// A node's sums. The bytes are written out, so that everybody can add them up: the short forms are rounded.
    static func summary(of node: NodeReport) -> [String] {
        let sum = node.usedBytes + node.freeBytes
        return [
            "\(node.node.id.short) at \(StatusCommand.address(node.node)): \(Amounts.bytes(node.usedBytes)) of "
                + "\(Amounts.bytes(node.capacityBytes)) of memory used, \(Amounts.bytes(node.pinnedBytes)) being read; "
                + "\(Amounts.count(node.fileCount, "file")) with \(Amounts.bytes(node.fileBytes)) on disk; "
                + SpillText.summary(of: node),
            "  \(node.usedBytes) used + \(node.freeBytes) free \(sum == node.capacityBytes ? "=" : "is not") "
                + "\(node.capacityBytes) bytes",
            "  \(Amounts.bytes(node.freeBytes)) free in \(Amounts.count(Int(clamping: node.freeBlockCount), "block")), the largest "
                + "\(Amounts.bytes(node.largestFreeBytes)); "
                + "\(Amounts.share(node.unusableForMebibyteBytes, of: node.freeBytes)) of it unusable for an object of 1 MiB",
        ] + (node.disk.map { ["  " + StatusCommand.disk($0)] } ?? []) + SpillText.history(of: node).map { "  " + $0 }
    }

    /// Objects, largest first.
    static func table(of objects: [ObjectReport]) -> Table {
        var table = Table(
            .init("REF"), .init("KIND"), .init("SIZE", .right), .init("IN MEMORY", .right), .init("SPILLED", .right),
            .init("CREATOR", .right),
            .init("AGE", .right), .init("JOB", .right), .init("REFS", .right), .init("PINS", .right), .init("NODES", .right),
            .init("STATE"))
        for object in objects.sorted(by: { ($0.size, $1.object.description) > ($1.size, $0.object.description) }) {
            let standing = [object.state, object.isOwner ? "owner" : "copy"] + (object.isDetached ? ["detached"] : [])
            table.add(
                object.object.description, object.kind, Amounts.bytes(object.size), Amounts.bytes(object.memoryBytes),
                object.spilledBytes == 0 ? "-" : Amounts.bytes(object.spilledBytes),
                object.creatorProcess.map { String($0) } ?? "-", Amounts.age(object.ageSeconds), object.job.description,
                String(object.referringClients), String(object.pinningClients), String(object.borrowers),
                standing.joined(separator: ", "))
        }
        return table
    }

    /// Connected processes, in the order in which the store has them: the node first, those that have ended last.
    static func table(of clients: [ClientReport]) -> Table {
        var table = Table(
            .init("PROCESS", .right), .init("ROLE"), .init("FOR", .right), .init("CREATED", .right), .init("BYTES", .right),
            .init("UNSEALED", .right), .init("PINS", .right), .init("BYTES", .right), .init("REFS", .right),
            .init("BYTES", .right))
        for client in clients {
            let isGone = client.role == .gone
            table.add(
                client.process.map { String($0) } ?? "-", isGone ? "ended" : client.role.rawValue,
                client.ageSeconds.map { Amounts.age($0) } ?? "-", String(client.createdCount), Amounts.bytes(client.createdBytes),
                Amounts.bytes(client.unsealedBytes), isGone ? "-" : String(client.pinnedCount),
                isGone ? "-" : Amounts.bytes(client.pinnedBytes), isGone ? "-" : String(client.refCount),
                isGone ? "-" : Amounts.bytes(client.refBytes))
        }
        return table
    }

    /// Those who made what is there, with most bytes first.
    static func table(ofCreatorsOf objects: [ObjectReport]) -> Table {
        struct Sums {
            var count = 0
            var bytes: UInt64 = 0
            var pinned: UInt64 = 0
            var unreferred = 0
            var oldest = 0.0
        }
        var creators: [Int32?: Sums] = [:]
        // What is elsewhere was not made here.
        for object in objects where object.isHere {
            var sums = creators[object.creatorProcess, default: Sums()]
            sums.count += 1
            sums.bytes += object.memoryBytes
            sums.pinned += object.pinningClients > 0 ? object.memoryBytes : 0
            sums.unreferred += object.referringClients == 0 ? 1 : 0
            sums.oldest = max(sums.oldest, object.ageSeconds)
            creators[object.creatorProcess] = sums
        }
        var table = Table(
            .init("CREATOR", .right), .init("OBJECTS", .right), .init("BYTES", .right), .init("PINNED", .right),
            .init("WITHOUT REFS", .right), .init("OLDEST", .right))
        for (creator, sums) in creators.sorted(by: { ($0.value.bytes, $0.key ?? 0) > ($1.value.bytes, $1.key ?? 0) }) {
            table.add(
                creator.map { String($0) } ?? "-", String(sums.count), Amounts.bytes(sums.bytes), Amounts.bytes(sums.pinned),
                String(sums.unreferred), Amounts.age(sums.oldest))
        }
        return table
    }
}

extension ObjectReport {
    /// Whether a value is in this node's memory, or being made there.
    fileprivate var isHere: Bool { state == "sealed" || state == "creating" || state == "deleting" }
}
