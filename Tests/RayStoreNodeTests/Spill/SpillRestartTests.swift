// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// What a node that was killed has left is put where its next life finds it.
@Suite struct SpillRestartTests {
    /// When the node was killed.
    enum Moment: CaseIterable {
        /// Files and list say the same.
        case later
        /// The files were written, the list did not know of them.
        case beforeTheList
        /// Somebody has removed the files since.
        case withoutFiles
    }

    @Test(arguments: Moment.allCases)
    func theNextLifeRemovesWhatWasLeft(_ moment: Moment) async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let (state, spill, kept) = (scratch.path + "/state", scratch.path + "/spill", scratch.path + "/kept")
        try FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
        let count = try await withLife(state, spill) { node, session in
            if moment == .beforeTheList { try copyList(from: state, to: kept) }
            let refs = try await fill(node, session)
            if moment != .beforeTheList { try copyList(from: state, to: kept) }
            try FileManager.default.copyItem(atPath: spill, toPath: kept + "/spill")
            _ = refs
            return spillFiles(spill).count
        }
        #expect(count > 1)
        #expect(spillFiles(spill).isEmpty)
        // As after a kill.
        try copyList(from: kept, to: state)
        if moment != .withoutFiles {
            try? FileManager.default.removeItem(atPath: spill)
            try FileManager.default.moveItem(atPath: kept + "/spill", toPath: spill)
            #expect(spillFiles(spill).count == count)
        }
        // Another cluster: its first job has the same number, so its objects have the same ids and its files the same names.
        _ = try await withLife(state, spill) { node, session in
            let refs = try await fill(node, session)
            for (number, ref) in refs.enumerated() {
                let value = try await session.get(ref)
                #expect(equal(value, pattern(1 << 20, seed: UInt64(number))))
            }
            let counters = try #require(await node.spillCounters())
            #expect(counters.missingFiles == (moment == .withoutFiles ? UInt64(count) : 0))
            #expect(counters.sweptFiles == UInt64(count))
            try await session.free(refs)
            #expect(await eventually { spillFiles(spill).isEmpty })
            return 0
        }
    }

    private func fill(_ node: Node, _ session: Session) async throws -> [ObjectRef<Bytes>] {
        var refs: [ObjectRef<Bytes>] = []
        for number in 0..<40 { refs.append(try await put(pattern(1 << 20, seed: UInt64(number)), session, node)) }
        return refs
    }

    private func copyList(from: String, to: String) throws {
        for name in ["spill.sqlite", "spill.sqlite-wal", "spill.sqlite-shm"] {
            try? FileManager.default.removeItem(atPath: to + "/" + name)
            if FileManager.default.fileExists(atPath: from + "/" + name) {
                try FileManager.default.copyItem(atPath: from + "/" + name, toPath: to + "/" + name)
            }
        }
    }

    private func withLife(_ state: String, _ spill: String, _ body: (Node, Session) async throws -> Int) async throws -> Int {
        // Nothing is written while the test copies what there is.
        try await withNodeLife(
            state, capacity: 16 << 20, FilesystemStorage(directories: [spill], owner: "node"), { $0.spill.fileBytes = 4 << 20 },
            body)
    }
}
