// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// One process, told from a later one that was given the same pid by the time it started.
struct ProcessIdentity: Hashable, Sendable {
    let pid: pid_t
    private let startTime: String

    /// nil when there is no such process, or only its zombie. One whose first thread has ended is there as long as another is, with all its
    /// files: of a process that was killed these may be still at ending.
    init?(of pid: pid_t) {
        // Fields are counted from the last bracket: the command's name may hold spaces and brackets.
        guard pid > 0, let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let bracket = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: bracket)...].split(separator: " ")
        guard fields.count > 19, let threads = Int(fields[17]) else { return nil }
        if threads < 2, fields[0] == "Z" || fields[0] == "X" { return nil }
        self.pid = pid
        startTime = String(fields[19])
    }

    var isRunning: Bool { ProcessIdentity(of: pid) == self }

    /// Waits until it is gone; false when the time ran out first, or the task was cancelled.
    func waitUntilGone(for timeout: Duration) async -> Bool {
        let deadline = ContinuousClock.now + timeout
        while isRunning {
            guard ContinuousClock.now < deadline, (try? await Task.sleep(for: .milliseconds(20))) != nil else { return false }
        }
        return true
    }
}
