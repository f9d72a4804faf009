// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

/// Objects and files between real nodes.
@Suite(.serialized) struct TransferTests {
    private static let chunk = 4 << 20
    static let sizes = [0, 1, chunk - 1, chunk, chunk + 1, 200 << 20]

    @Test func objectsOfEverySizeCrossUnchanged() async throws {
        try await withCluster(2, memory: "512MiB") { cluster in
            let a = try await cluster.session(0)
            let b = try await cluster.session(1)
            for size in Self.sizes {
                let ref = try a.put(bytes: pattern(size))
                let there = try await b.open(ref.shared())
                let bytes = try await b.get(there)
                #expect(bytes.count == size)
                #expect(Array(bytes) == pattern(size))
            }
            await b.close()
            await a.close()
        }
    }

    @Test func filesOfEverySizeCrossUnchanged() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withCluster(2) { cluster in
            let a = try await cluster.session(0)
            let b = try await cluster.session(1)
            for size in Self.sizes {
                let ref = try await a.put(RayFile(path: scratch.file("größe \(size).bin", size: size)))
                let there = try await b.open(ref.shared())
                let file = try await b.get(there)
                #expect(file.name == "größe \(size).bin")
                #expect(try read(file.path) == pattern(size))
            }
            await b.close()
            await a.close()
        }
    }

    @Test func threeNodesReadWhatOneWroteAndNothingStays() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try await withCluster(3) { cluster in
            let watcher = try await cluster.session(0)
            let writer = try await cluster.session(0)
            let ref = try await writer.put(RayFile(path: scratch.file("f", size: 20 << 20)))
            for index in 1...2 {
                let reader = try await cluster.session(index)
                let file = try await reader.get(reader.open(ref.shared()))
                #expect(try read(file.path) == pattern(20 << 20))
                await reader.close()
            }
            await writer.close()
            #expect(try await eventually(within: .seconds(2)) { try await watcher.census() == (0, 0) })
            #expect(cluster.files().isEmpty)
            await watcher.close()
        }
    }
}
