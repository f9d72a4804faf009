// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Who gets what was spilled in the order in which it lies in its file, and what is in memory for them before they have asked.
///
/// A *trail* is what has been got of one file, if most of what lies between its ends was. As much as it has got so far is read ahead of it, up to a
/// limit, so one that ends early has cost no more than it has gained. What is read ahead is *held* until somebody uses it, or its memory is
/// needed. It belongs to nobody, so a hold only counts: the store says what became of the object.
struct ReadAhead {
    struct Trail {
        /// Of the file: what was got lies between these.
        var begin: UInt64
        var end: UInt64
        /// Where what is not read ahead yet begins.
        var reached: UInt64
        var bytes: UInt64
        var count: Int
        var lastUse: Duration
        /// In a file of this machine.
        let isNear: Bool
        /// The file in which it goes on, as far as what is read ahead goes.
        var next: String?
    }

    struct Held {
        let record: SpillRecord
        /// When the object was made in the store: one that has been used has another.
        let tick: UInt64
    }

    /// Two in a row are chance.
    private static let countLeast = 3
    /// What nobody has used for so long goes first when memory is needed, and nothing more is read for it.
    private static let patience = Duration.seconds(2)
    private static let trailsMost = 8

    /// Less is not worth a pass.
    private static let pieceLeast: UInt64 = 8 << 20

    /// Of what is held, together.
    let limit: UInt64
    /// Read by one pass over a file of this machine: a part of the limit, so that two passes are always under way beside what is held for the reader.
    let pieceBytes: UInt64
    private(set) var trails: [String: Trail] = [:]
    private(set) var held: [ObjectID: Held] = [:]
    private(set) var heldBytes: UInt64 = 0
    /// Being read.
    var comingBytes: UInt64 = 0
    /// Objects that were used before their memory was needed.
    var usedCount: UInt64 = 0
    /// What those readers have behind them.
    var spent: SpentObjects
    private var pauseEnd = Duration.zero

    /// - Parameter capacity: of the store.
    init(limit: UInt64, capacity: UInt64) {
        self.limit = limit
        spent = SpentObjects(capacity: capacity)
        pieceBytes = max(limit / 8, Self.pieceLeast)
    }

    // MARK: What is got

    mutating func noteGot(_ record: SpillRecord, at now: Duration) {
        let location = record.location
        let end = location.offset + location.size
        let isNear = record.path != nil
        var trail = trails[location.file] ?? Self.start(location.offset, end, now, isNear)
        trail.add(location.offset, end)
        // Somebody who jumps about gets less than lies between.
        if trail.bytes < (trail.end - trail.begin) / 2 {
            trail = Self.start(location.offset, end, now, isNear)
            trail.add(location.offset, end)
        }
        trails[location.file] = trail
        touch(location.file, now)
        guard trails.count > Self.trailsMost, let oldest = trails.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
        trails[oldest.key] = nil
    }

    /// A trail is as fresh as the one that it goes on from.
    private mutating func touch(_ file: String, _ now: Duration) {
        var file: String? = file
        for _ in 0..<Self.trailsMost {
            guard let at = file, trails[at] != nil else { return }
            trails[at]!.lastUse = now
            file = trails[at]!.next
        }
    }

    private static func start(_ begin: UInt64, _ end: UInt64, _ now: Duration, _ isNear: Bool) -> Trail {
        Trail(begin: begin, end: end, reached: end, bytes: 0, count: 0, lastUse: now, isNear: isNear)
    }

    // MARK: What to read

    /// Where to read on for the trail that went on last, and how much there may be; nil when enough is read ahead.
    ///
    /// Next to a reader who waits for nothing else the disk's two readers must not wait for each other, nor for the reader: so pieces are begun as soon as
    /// there is room for one. Elsewhere, where a request is what costs, half of all that may be read ahead goes by one.
    func next(at now: Duration) -> (file: String, from: UInt64, bytes: UInt64)? {
        guard limit > 0, now >= pauseEnd else { return nil }
        let steady = trails.filter { $0.value.count >= Self.countLeast && now - $0.value.lastUse < Self.patience }
        guard var (file, trail) = steady.max(by: { $0.value.lastUse < $1.value.lastUse }).map({ ($0.key, $0.value) }) else {
            return nil
        }
        let window = min(limit, trail.bytes)
        let taken = heldBytes + comingBytes
        let least = trail.isNear ? min(window / 2, pieceBytes) : window / 2
        guard taken + least <= window else { return nil }
        for _ in 0..<Self.trailsMost {
            guard let next = trail.next, let further = trails[next] else { break }
            (file, trail) = (next, further)
        }
        return (file, trail.reached, window - taken)
    }

    /// Everything up to there is on its way, or need not come.
    mutating func noteReached(_ offset: UInt64, of file: String) {
        guard let reached = trails[file]?.reached else { return }
        trails[file]!.reached = max(reached, offset)
    }

    /// There was no room for what lies from there on.
    mutating func goBack(to record: SpillRecord) {
        guard let trail = trails[record.location.file] else { return }
        trails[record.location.file]!.reached = max(trail.end, min(trail.reached, record.location.offset))
    }

    /// Nothing is to be read before.
    mutating func pause(until end: Duration) {
        pauseEnd = end
    }

    /// The trail has come to the end of its file, and is taken to go on in the next.
    ///
    /// - Returns: whether it has; not twice, nor in a circle.
    mutating func crossOver(from file: String, to next: String) -> Bool {
        guard let trail = trails[file], trail.next == nil, next != file else { return false }
        if trails[next] == nil {
            trails[next] = Trail(
                begin: 0, end: 0, reached: 0, bytes: trail.bytes, count: trail.count, lastUse: trail.lastUse,
                isNear: trail.isNear)
        }
        trails[file]!.next = next
        return true
    }

    /// What was read ahead for it was not used: it has to show itself again.
    mutating func end(_ file: String) {
        trails[file] = nil
    }

    // MARK: What is held

    mutating func hold(_ id: ObjectID, _ record: SpillRecord, tick: UInt64) {
        // It may have gone and come once more since the last look at what is held.
        _ = release(id)
        spent.forget(id)
        held[id] = Held(record: record, tick: tick)
        heldBytes += record.location.size
    }

    /// The object is not held any more: used, dropped or ended.
    mutating func release(_ id: ObjectID) -> Held? {
        guard let released = held.removeValue(forKey: id) else { return nil }
        heldBytes -= released.record.location.size
        return released
    }

    /// It has been used since it was read ahead: it stands among what was asked for, and goes when its turn comes.
    mutating func noteUsed(_ id: ObjectID) {
        if release(id) != nil { usedCount += 1 }
    }

    /// Whether its reader is behind it by now. Then it was used without a trace, for a get leaves none while nothing is created, or it will not be.
    func isPassed(_ record: SpillRecord) -> Bool {
        guard let trail = trails[record.location.file] else { return false }
        if record.location.offset + record.location.size <= trail.end { return true }
        guard let next = trail.next, let further = trails[next] else { return false }
        return further.end > 0
    }

    /// Whether what is held for this file is still waited for.
    func isStale(_ file: String, at now: Duration) -> Bool {
        guard let trail = trails[file] else { return true }
        return now - trail.lastUse >= Self.patience
    }
}

extension ReadAhead.Trail {
    fileprivate mutating func add(_ offset: UInt64, _ end: UInt64) {
        begin = min(begin, offset)
        self.end = max(self.end, end)
        bytes += end - offset
        count += 1
        reached = max(reached, self.end)
    }
}
