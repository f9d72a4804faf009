// SPDX-License-Identifier: Apache-2.0

/// The text of a transfer's progress. Pure: the same state and width give the same line.
enum ProgressLine {
    private static let barMin = 8
    private static let barMax = 30

    /// One line for a terminal of so many columns. Parts that do not fit go, the least telling first; the percentage stays.
    static func drawn(_ label: String, _ state: TransferState, columns: Int) -> String {
        // The last column stays free: some terminals wrap when it is written.
        let room = max(4, columns - 1)
        let percent = "\(state.percent)%".padded(to: 4, .right)
        var parts = [
            Part(.waiting, waiting(state)), Part(.amount, amount(state)), Part(.rate, Amounts.rate(state.rate)),
            Part(.wire, state.wire > 0 ? "wire \(Amounts.rate(state.wireRate))" : ""), Part(.codecs, state.codecs),
            Part(.left, left(state)), Part(.retries, state.retriedChunks > 0 ? "\(state.retriedChunks) again" : ""),
        ].filter { !$0.text.isEmpty }
        var name = label.printable
        for drop in Kind.leastTellingFirst {
            if width(name, percent, parts) + barMin + 3 <= room { break }
            if drop == .label {
                name = name.clipped(to: 16)
            } else {
                parts.removeAll { $0.kind == drop }
            }
        }
        let barRoom = room - width(name, percent, parts) - 3
        if barRoom >= barMin {
            let bar = bar(state, cells: min(barRoom, barMax))
            return ([name, "\(percent) [\(bar)]"] + parts.map(\.text)).filter { !$0.isEmpty }.joined(separator: "  ")
        }
        return ([percent] + parts.map(\.text)).joined(separator: "  ").clipped(to: room)
    }

    /// One line for a log: everything, without a bar.
    static func plain(_ label: String, _ state: TransferState) -> String {
        let wire = state.wire > 0 ? "wire \(Amounts.bytes(UInt64(state.wire))) at \(Amounts.rate(state.wireRate))" : ""
        let ending = state.isComplete ? "in \(Amounts.seconds(state.seconds))" : left(state)
        let retries = state.retriedChunks > 0 ? "\(Amounts.count(state.retriedChunks, "chunk")) asked for again" : ""
        let parts = [
            waiting(state), amount(state), "\(state.percent)%", Amounts.rate(state.rate), wire, state.codecs, retries, ending,
        ]
        return "\(label.printable): " + parts.filter { !$0.isEmpty }.joined(separator: ", ")
    }

    private enum Kind {
        case label, amount, rate, wire, codecs, left, retries, waiting

        static let leastTellingFirst: [Kind] = [.label, .retries, .codecs, .wire, .amount, .left, .rate, .waiting]
    }

    private struct Part {
        let kind: Kind
        let text: String

        init(_ kind: Kind, _ text: String) {
            self.kind = kind
            self.text = text
        }
    }

    private static func amount(_ state: TransferState) -> String {
        let total = Amounts.bytes(UInt64(max(0, state.total)))
        return state.isComplete ? total : "\(Amounts.bytes(UInt64(max(0, state.done)))) of \(total)"
    }

    private static func waiting(_ state: TransferState) -> String {
        state.waitingFor.map { "waiting for \($0.printable)" } ?? ""
    }

    private static func left(_ state: TransferState) -> String {
        if state.isComplete { return Amounts.seconds(state.seconds) }
        return state.secondsLeft.map { "\(Amounts.seconds($0)) left" } ?? ""
    }

    private static func width(_ name: String, _ percent: String, _ parts: [Part]) -> Int {
        (name.isEmpty ? 0 : name.displayWidth + 2) + percent.displayWidth + parts.reduce(0) { $0 + 2 + $1.text.displayWidth }
    }

    private static func bar(_ state: TransferState, cells: Int) -> String {
        let fraction = state.total > 0 ? min(1, Double(state.done) / Double(state.total)) : 1
        let filled = Int(fraction * Double(cells))
        let head = filled < cells && filled > 0 ? ">" : ""
        return (String(repeating: "=", count: max(0, filled - head.count)) + head).padded(to: cells, .left)
    }
}
