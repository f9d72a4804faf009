// SPDX-License-Identifier: Apache-2.0

/// Whose turn it is among those who wait for room: lines in turn, each line's requests in the order in which they came.
struct RoomOrder {
    private struct Entry {
        let line: RoomLine
        let bytes: UInt64
    }

    private var entries: [UInt64: Entry] = [:]
    /// Lines in which somebody waits; the first one is next.
    private var turns: [RoomLine] = []
    private var lines: [RoomLine: [UInt64]] = [:]
    /// What all of them want together.
    private(set) var bytes: UInt64 = 0

    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.count }

    /// Who is served next.
    var head: UInt64? {
        turns.first.flatMap { lines[$0]?.first }
    }

    mutating func add(_ ticket: UInt64, in line: RoomLine, bytes: UInt64) {
        entries[ticket] = Entry(line: line, bytes: bytes)
        self.bytes &+= bytes
        if lines[line] == nil { turns.append(line) }
        lines[line, default: []].append(ticket)
    }

    /// Takes a request out. If it was served, its line's next turn comes after everybody else's.
    mutating func remove(_ ticket: UInt64, isServed: Bool) {
        guard let entry = entries.removeValue(forKey: ticket) else { return }
        bytes &-= entry.bytes
        lines[entry.line]?.removeAll { $0 == ticket }
        let isGone = lines[entry.line]?.isEmpty == true
        guard isGone || isServed, let place = turns.firstIndex(of: entry.line) else { return }
        turns.remove(at: place)
        if isGone {
            lines[entry.line] = nil
        } else {
            turns.append(entry.line)
        }
    }

    /// Who may be served before the head: smaller than it, at most so large, everybody's first before anybody's second.
    func others(smallerThan most: UInt64, count limit: Int) -> [UInt64] {
        guard let head, let headBytes = entries[head]?.bytes else { return [] }
        return inTurn(count: limit) { ticket in
            guard ticket != head, let bytes = entries[ticket]?.bytes else { return false }
            return bytes <= most && bytes < headBytes
        }
    }

    /// Those who are meant, everybody's first before anybody's second.
    func inTurn(count limit: Int, where isMeant: (UInt64) -> Bool) -> [UInt64] {
        var found: [UInt64] = []
        var depth = 0
        var isMore = true
        while isMore, found.count < limit, depth < limit {
            isMore = false
            for name in turns {
                guard let line = lines[name], depth < line.count else { continue }
                isMore = true
                let ticket = line[depth]
                if isMeant(ticket) { found.append(ticket) }
            }
            depth += 1
        }
        return Array(found.prefix(limit))
    }
}
