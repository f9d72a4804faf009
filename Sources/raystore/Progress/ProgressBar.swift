// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore
internal import Synchronization

/// Shows a transfer on standard error: on a terminal one line that is drawn again, elsewhere a line now and then.
final class ProgressBar: Sendable {
    private struct Drawing {
        var lastDrawn: ContinuousClock.Instant?
        var latest: TransferState?
        /// Where the rate of late is measured from.
        var marks: [(time: Double, done: Int, wire: Int)] = []
        var hasLine = false
        var isOver = false
    }

    private let label: String
    private let isTerminal: Bool
    private let isSilent: Bool
    private let drawing = Mutex(Drawing())

    init(_ label: String, isSilent: Bool) {
        self.label = label
        self.isSilent = isSilent
        isTerminal = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }

    /// Takes what the transfer says; may be called from any thread.
    func update(_ progress: TransferProgress) {
        update(TransferState(progress))
    }

    func update(_ state: TransferState) {
        drawing.withLock { drawing in
            guard !drawing.isOver else { return }
            drawing.marks.append((state.seconds, state.done, state.wire))
            // Over about two seconds: steady enough to read, quick enough to follow a link that changes.
            while drawing.marks.count > 2, let first = drawing.marks.first, state.seconds - first.time > 2 {
                drawing.marks.removeFirst()
            }
            drawing.latest = state
            guard !isSilent else { return }
            let now = ContinuousClock.now
            let interval: Duration = isTerminal ? .milliseconds(100) : .seconds(2)
            if !isTerminal, drawing.lastDrawn == nil {
                // The first line comes after two seconds too: a short transfer is told in one line, at its end.
                drawing.lastDrawn = now
                return
            }
            if let last = drawing.lastDrawn, now - last < interval { return }
            drawing.lastDrawn = now
            draw(&drawing, Self.recent(state, drawing.marks))
        }
    }

    /// Draws the last line, if there was a transfer, and answers how it ended.
    func finish() -> TransferState? {
        drawing.withLock { drawing in
            guard !drawing.isOver else { return drawing.latest }
            drawing.isOver = true
            guard let latest = drawing.latest, !isSilent else { return drawing.latest }
            draw(&drawing, latest)
            if isTerminal { Console.note("") }
            return latest
        }
    }

    /// Leaves no half line behind when the transfer has failed.
    func abandon() {
        drawing.withLock { drawing in
            if drawing.hasLine, !drawing.isOver { Console.note("") }
            drawing.isOver = true
        }
    }

    private static func recent(_ state: TransferState, _ marks: [(time: Double, done: Int, wire: Int)]) -> TransferState {
        guard let first = marks.first, state.seconds - first.time > 0.2 else { return state }
        var state = state
        state.rate = Double(state.done - first.done) / (state.seconds - first.time)
        state.wireRate = Double(state.wire - first.wire) / (state.seconds - first.time)
        return state
    }

    private func draw(_ drawing: inout Drawing, _ state: TransferState) {
        guard isTerminal else {
            Console.note(ProgressLine.plain(label, state))
            return
        }
        drawing.hasLine = true
        // Return to the first column, the line, erase what an older and longer one left.
        Console.noteRaw("\r" + ProgressLine.drawn(label, state, columns: Self.columns) + "\u{1b}[K")
    }

    private static var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}
