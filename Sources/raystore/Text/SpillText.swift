// SPDX-License-Identifier: Apache-2.0
internal import RayStoreNode

/// What `raystore status` and `raystore memory` say of a node's spilling.
enum SpillText {
    /// Where to, and what lies there now.
    static func summary(of node: NodeReport) -> String {
        guard node.canSpill else { return "no spilling" }
        guard let spill = node.spill, spill.recordCount > 0 || spill.fileCount > 0 else { return "spills to \(node.storage)" }
        return
            "spills to \(node.storage): \(count(spill.recordCount, "object")) with \(packed(spill.recordBytes, spill.recordOwnBytes)) in "
            + "\(count(spill.fileCount, "file")) of \(Amounts.bytes(spill.fileBytes))"
    }

    /// What went there and came back since the node's start; a line for each that happened.
    static func history(of node: NodeReport) -> [String] {
        var lines = (node.leftStorages ?? []).map(left)
        guard let spill = node.spill else { return lines }
        if spill.spilledObjects > 0 {
            let own = spill.spilledBytes < spill.spilledOwnBytes ? ", packed from \(Amounts.bytes(spill.spilledOwnBytes))" : ""
            lines.append("spilled " + moved(spill.spilledObjects, spill.spilledBytes, spill.spillSeconds) + own)
        }
        if spill.restoredObjects > 0 {
            lines.append("restored " + moved(spill.restoredObjects, spill.restoredBytes, spill.restoreSeconds))
        }
        if spill.readAheadObjects > 0 {
            lines.append(
                "of these \(count(spill.readAheadObjects, "object")), \(Amounts.bytes(spill.readAheadBytes)), before anybody asked; "
                    + "\(spill.readAheadUsedObjects) of them were used then")
        }
        if spill.evictedObjects > 0 {
            lines.append(
                "gave up the memory of \(count(spill.evictedObjects, "object")) without writing, \(Amounts.bytes(spill.evictedBytes))"
            )
        }
        if spill.failedSpills > 0 { lines.append("\(count(spill.failedSpills, "file")) could not be written") }
        if spill.damagedRecords > 0 {
            lines.append("\(count(spill.damagedRecords, "record")) were altered, cut or gone when they were needed")
        }
        if spill.sweptFiles > 0 { lines.append("removed \(count(spill.sweptFiles, "file")) of earlier lives of the node") }
        if spill.missingFiles > 0 {
            lines.append("\(count(spill.missingFiles, "file")) of earlier lives had been removed by somebody")
        }
        return lines
    }

    private static func packed(_ stored: UInt64, _ own: UInt64) -> String {
        stored < own ? "\(Amounts.bytes(own)) packed in \(Amounts.bytes(stored))" : Amounts.bytes(stored)
    }

    /// What earlier lives left where this one does not look.
    static func left(_ storage: LeftStorage) -> String {
        let what =
            storage.fileCount == 0
            ? "Earlier lives may have left files"
            : "Earlier lives left \(Amounts.count(storage.fileCount, "file")) of \(Amounts.bytes(storage.bytes))"
        return "\(what) in \(storage.folder) (\(storage.service)), which is not this node's storage any more."
    }

    private static func moved(_ objects: UInt64, _ bytes: UInt64, _ seconds: Double) -> String {
        let rate = seconds > 0 ? " at \(Amounts.rate(Double(bytes) / seconds))" : ""
        return "\(count(objects, "object")), \(Amounts.bytes(bytes))\(rate)"
    }

    private static func count(_ count: UInt64, _ noun: String) -> String {
        Amounts.count(Int(clamping: count), noun)
    }
}
