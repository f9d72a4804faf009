// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A test run that ends by force leaves no node behind.
@Suite(.serialized) struct LeashTests {
    @Test func nodesEndWithTheKilledProcessThatStartedThem() async throws {
        let starter = try TestProcess("raystore-test-client", ["nodes", "2"])
        defer { starter.end() }
        let said = try #require(await starter.output(until: "ready"))
        let directory = try #require(said.first)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let nodes = try said.dropFirst().map { try #require(Int32($0)) }
        #expect(nodes.count == 2)
        #expect(nodes.allSatisfy(isNode))
        starter.end(with: SIGKILL)
        #expect(await eventually(within: .seconds(60)) { !nodes.contains(where: isNode) })
    }

    /// By the program, for a pid may be another's soon.
    private func isNode(_ pid: Int32) -> Bool {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")) == TestProcess.programs + "/raystore"
    }
}
