// SPDX-License-Identifier: Apache-2.0

/// Whose turn it is among those who wait for room: clients in turn, each client's requests in the order in which they came.
///
/// The node's own requests count as those of one client.
struct RoomOrder {
    private struct Entry {
        let client: ClientSlot?
        let bytes: UInt64
    }

    private var entries: [UInt64: Entry] = [:]
    /// Clients that wait; the first one is next.
    private var turns: [ClientSlot?] = []
    private var lines: [ClientSlot?: [UInt64]] = [:]
    /// What all of them want together.
    private(set) var bytes: UInt64 = 0

    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.count }

    /// Who is served next.
    var head: UInt64? {
        turns.first.flatMap { lines[$0]?.first }
    }

    mutating func add(_ ticket: UInt64, of client: ClientSlot?, bytes: UInt64) {
        entries[ticket] = Entry(client: client, bytes: bytes)
        self.bytes &+= bytes
        if lines[client] == nil { turns.append(client) }
        lines[client, default: []].append(ticket)
    }

    /// Takes a request out. If it was served, its client's next turn comes after everybody else's.
    mutating func remove(_ ticket: UInt64, isServed: Bool) {
        guard let entry = entries.removeValue(forKey: ticket) else { return }
        bytes &-= entry.bytes
        lines[entry.client]?.removeAll { $0 == ticket }
        let isGone = lines[entry.client]?.isEmpty == true
        guard isGone || isServed, let place = turns.firstIndex(of: entry.client) else { return }
        turns.remove(at: place)
        if isGone {
            lines[entry.client] = nil
        } else {
            turns.append(entry.client)
        }
    }

    /// Who may be served before the head: smaller than it, at most so large, everybody's first before anybody's second.
    func others(smallerThan most: UInt64, count limit: Int) -> [UInt64] {
        guard let head, let headBytes = entries[head]?.bytes else { return [] }
        var found: [UInt64] = []
        var depth = 0
        var isMore = true
        while isMore, found.count < limit, depth < limit {
            isMore = false
            for client in turns {
                guard let line = lines[client], depth < line.count else { continue }
                isMore = true
                let ticket = line[depth]
                if ticket != head, let bytes = entries[ticket]?.bytes, bytes <= most, bytes < headBytes { found.append(ticket) }
            }
            depth += 1
        }
        return Array(found.prefix(limit))
    }
}
