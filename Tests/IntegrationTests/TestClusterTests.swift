// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// What the other tests here rely on.
@Suite struct TestClusterTests {
    /// A node blocks signals that are sent to it, so what crashes here is a shell.
    @Test(.timeLimit(.minutes(2)), arguments: [("kill -SEGV $$", SIGSEGV), ("kill -KILL $$", nil), ("exit 11", nil)])
    func aCrashIsToldFromOtherEnds(_ script: String, _ crash: Int32?) async throws {
        let process = try TestProcess("/bin/sh", ["-c", script])
        #expect(await eventually(within: .seconds(60)) { !process.isRunning })
        #expect(process.crash == crash)
    }

    @Test(.timeLimit(.minutes(2))) func aNodeThatItsTestKillsDidNotCrash() async throws {
        try await withCluster(1) { cluster in
            #expect(cluster.members[0].process.end() == SIGKILL)
            #expect(cluster.crashes().isEmpty)
        }
    }
}
