// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import raystore

@Suite struct ProcessIdentityTests {
    /// Its first thread ends at once, by the system call that ends one thread (60 on x86-64, 93 on arm64); the other reads a line.
    private static let program = """
        import ctypes, os, platform, sys, threading
        def wait():
            sys.stdin.readline()
            os._exit(0)
        threading.Thread(target=wait).start()
        print("ready", flush=True)
        ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)
        """

    /// So it is while a process that was killed is still at ending: its sockets and locks are there.
    @Test(.timeLimit(.minutes(1))) func aProcessIsThereAsLongAsOneOfItsThreads() async throws {
        let process = try TestProcess("/usr/bin/env", ["python3", "-c", Self.program])
        defer { process.end() }
        #expect(await process.nextLine() == "ready")
        let stat = "/proc/\(process.pid)/stat"
        #expect(await eventually { (try? String(contentsOfFile: stat, encoding: .utf8))?.contains(") Z ") == true })
        let identity = try #require(ProcessIdentity(of: process.pid))
        #expect(identity.isRunning)
        try process.tell("end")
        #expect(await identity.waitUntilGone(for: .seconds(10)))
    }
}
