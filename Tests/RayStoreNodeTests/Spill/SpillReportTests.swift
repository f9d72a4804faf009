// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// What a node says of its spilling: in its reports, which `raystore status` and `raystore memory` print, and through swift-metrics.
@Suite struct SpillReportTests {
    private let size = 4 << 20

    private func memory(_ session: Session) async throws -> ObjectsReport {
        try JSONDecoder().decode(ObjectsReport.self, from: Data(try await session.report("memory").utf8))
    }

    /// A report at a moment in which nothing moved between its parts.
    private func memoryAtRest(_ session: Session) async throws -> ObjectsReport {
        let end = ContinuousClock.now + .seconds(20)
        while true {
            let report = try await memory(session)
            let inRows = report.objects.reduce(0) { $0 + $1.memoryBytes }
            if report.nodes.first?.usedBytes == inRows || ContinuousClock.now > end { return report }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    @Test func whatIsSpilledAndRestoredAddsUpInTheReports() async throws {
        try await withSpilling(capacity: 32 << 20) { node, session, folder in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<16 { refs.append(try await put(pattern(size, seed: UInt64(number)), session, node)) }
            let report = try await memoryAtRest(session)
            let about = try #require(report.nodes.first)
            let spill = try #require(about.spill)
            #expect(spill.storage == "filesystem" && about.storage == "filesystem")
            #expect(spill.spilledObjects >= 8 && spill.spilledBytes >= spill.spilledObjects * UInt64(size))
            #expect(spill.spillSeconds > 0)
            // Each object is in memory, or in the storage, or both, and the rows say which.
            let rows = report.objects.filter { row in refs.contains { $0.id == row.object } }
            #expect(rows.count == 16)
            #expect(rows.allSatisfy { $0.state == ($0.memoryBytes > 0 ? "sealed" : "spilled") })
            #expect(rows.allSatisfy { $0.memoryBytes > 0 || $0.spilledBytes > UInt64(size) })
            #expect(rows.allSatisfy { $0.size == UInt64(size) })
            #expect(rows.contains { $0.state == "spilled" } && rows.contains { $0.state == "sealed" })
            #expect(about.usedBytes == report.objects.reduce(0) { $0 + $1.memoryBytes })

            let first = try #require(rows.first { $0.state == "spilled" })
            let ref = try #require(refs.first { $0.id == first.object })
            _ = try await session.get(ref)
            let after = try #require(try await memory(session).nodes.first?.spill)
            // Once, or again when its memory was needed before it was pinned.
            let restored = after.restoredObjects - spill.restoredObjects
            #expect(restored >= 1)
            #expect(after.restoredBytes - spill.restoredBytes == restored * first.spilledBytes)
            #expect(after.restoreSeconds > spill.restoreSeconds)
            // The record stays, so that the memory can be given up again for nothing.
            let row = try #require(try await memory(session).objects.first { $0.object == ref.id })
            #expect(row.spilledBytes == first.spilledBytes)

            try await session.free(refs)
            #expect(
                try await eventually {
                    guard let now = try await memory(session).nodes.first?.spill else { return false }
                    return now.recordCount == 0 && now.recordBytes == 0 && now.fileCount == 0 && now.fileBytes == 0
                })
            #expect(await eventually { spillFiles(folder).isEmpty })
        }
    }

    @Test func aNodeThatSpillsNothingSaysSo() async throws {
        try await withNodes(1) { _, _, sessions in
            let about = try #require(try await memory(sessions[0]).nodes.first)
            #expect(!about.canSpill && about.spill == nil && about.storage == "none")
        }
    }

    @Test func metricsCountWhatTheReportsSay() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let factory = RecordingFactory()
        let cluster = try await LocalCluster()
        let node = try await cluster.addNode(
            capacity: 32 << 20, storage: FilesystemStorage(directories: [scratch.path], owner: "node"), metrics: factory
        ) { $0.metricsEvery = .milliseconds(20) }
        let session = try await Session.connect(socket: node.socketPath)
        var refs: [ObjectRef<Bytes>] = []
        for number in 0..<16 { refs.append(try await put(pattern(size, seed: UInt64(number)), session, node)) }
        for ref in refs { _ = try await session.get(ref) }
        let counters = try #require(await node.spillCounters())
        #expect(counters.restoredObjects > 0)
        for (name, value) in [
            ("raystore_spilled_objects_total", counters.spilledObjects), ("raystore_spilled_bytes_total", counters.spilledBytes),
            ("raystore_restored_objects_total", counters.restoredObjects),
            ("raystore_restored_bytes_total", counters.restoredBytes),
        ] {
            #expect(await eventually { factory[name] ?? 0 >= Double(value) }, "\(name)")
            #expect(factory.dimensions(of: name).contains("storage=filesystem"))
        }
        #expect(await eventually { factory["raystore_spill_stored_objects"] ?? 0 >= 8 })
        #expect(await eventually { factory["raystore_spill_stored_bytes"] ?? 0 >= Double(8 * size) })
        #expect(factory["raystore_spills_failed_total"] == nil)
        try await session.free(refs)
        #expect(await eventually { factory["raystore_spill_stored_bytes"] == 0 && factory["raystore_spill_files"] == 0 })
        await session.close()
        await cluster.stop()
    }
}
