// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Two nodes with the same name that spill to the same directory, as after a state directory was copied: each would sweep the other's files.
@Suite struct FolderLockTests {
    @Test func theSecondNodeIsRefusedAndTheFirstLosesNothing() async throws {
        try await withSpillingCluster(capacity: 32 << 20) { cluster, node, session, folder in
            let ref = try session.put(bytes: pattern(1 << 20))
            try await spillAll(of: node) { try !session.contains(ref) }
            let files = spillFiles(folder)
            #expect(files.count == 1)
            // The second of its directories is the one that is taken: it takes back what it made in the first.
            let other = folder + "-other"
            for directories in [[folder], [other, folder]] {
                let error = await failure {
                    _ = try await cluster.addNode(storage: FilesystemStorage(directories: directories, owner: "node"))
                }
                #expect(error?.code == .inUse)
                for part in ["directory_path", folder, "process \(getpid()) of machine", "storage-owner"] {
                    #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
                }
            }
            #expect(!FileManager.default.fileExists(atPath: other + "/ray_spilled_objects"))
            #expect(spillFiles(folder) == files)
            #expect(equal(try await session.get(ref), pattern(1 << 20)))
            // One with a name of its own may spill beside it.
            let beside = try await cluster.addNode(storage: FilesystemStorage(directories: [folder], owner: "another"))
            await beside.stop()
        }
    }

    @Test func whoComesAfterwardsFindsItFree() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        for _ in 0..<3 {
            let cluster = try await LocalCluster()
            _ = try await cluster.addNode(storage: FilesystemStorage(directories: [scratch.path], owner: "node"))
            await cluster.stop()
            #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
        }
    }
}
