// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import raystore

/// Storages as `raystore start` is given them.
@Suite struct StorageTests {
    private let ofCluster = #"{"type": "ray_storage"}"#

    @Test func nodesSpillToTheClustersStorageAndNothingStays() async throws {
        try await TestCluster.with(0) { cluster in
            let settings = ["--spill-sync", "--spill-file-size", "4MiB", "--spill-file-objects", "9", "--storage", ofCluster]
            try await cluster.addNode(with: ["--cluster-storage", "shared"] + settings)
            try await cluster.addNode(with: settings)
            let session = try #require(try cluster.names(in: "shared/spilled_objects").first)
            let folder = "shared/spilled_objects/\(session)/ray_spilled_objects"
            #expect(session.hasPrefix("session_"))
            #expect(try cluster.names(in: folder).count == 2)
            for node in [1, 0] { #expect(try await cluster.run("stop", on: node).status == 0) }
            #expect(try cluster.names(in: "shared").isEmpty)
        }
    }

    @Test func aStartSaysWhatEarlierLivesLeftElsewhere() async throws {
        try await TestCluster.with(0) { cluster in
            let member = try await cluster.addNode(with: ["--storage", "one"])
            kill(member.process.pid, SIGKILL)
            #expect(await member.process.waitUntilGone(for: .seconds(10)))
            let start = ["start", "--head", "--port", "0", "--memory", "32MiB", "--state-dir", "n0"]
            for (more, isSaid) in [(["--storage", "two"], true), (["--storage", "{}", "--forget-storages"], false)] {
                let outcome = try await Tool.run(start + more, in: cluster.directory)
                #expect(outcome.status == 0, "\(outcome.errors)")
                #expect(outcome.text.contains("/one/ray_spilled_objects/node-") == isSaid)
                let status = try await cluster.run("status")
                #expect(status.text.contains("/one/ray_spilled_objects/node-") == isSaid)
                #expect(try await cluster.run("stop").status == 0)
            }
        }
    }
}
