// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// What the tests' own processes do when they do not do what is expected: a test whose process is silent must end.
@Suite struct TestProcessTests {
    @Test func aSilentProcessIsNotWaitedForForEver() async throws {
        let silent = try TestProcess("/usr/bin/env", ["sleep", "600"])
        defer { silent.end() }
        #expect(await silent.nextLine(within: .milliseconds(50)) == nil)
        #expect(silent.isRunning)
    }

    @Test func aMarkThatNeverComesIsNotWaitedForForEver() async throws {
        let talker = try TestProcess("/usr/bin/env", ["sh", "-c", "while :; do echo more; sleep 0.01; done"])
        defer { talker.end() }
        #expect(await talker.nextLine() == "more")
        #expect(await talker.output(until: "the mark", within: .milliseconds(50)) == nil)
        #expect(talker.isRunning)
    }

    @Test func whatIsSaidBeforeTheEndIsRead() async throws {
        let brief = try TestProcess("/usr/bin/env", ["sh", "-c", "echo one; echo two; echo three"])
        defer { brief.end() }
        #expect(await brief.nextLine() == "one")
        #expect(await brief.output(until: "three") == ["two"])
        #expect(await brief.nextLine() == nil)
    }
}
