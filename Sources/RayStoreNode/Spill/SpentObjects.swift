// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Objects that came back, were read and were let go of: what whoever reads many of them one after the other has behind it.
///
/// They have records, so their memory goes without a write, and it is known without a look through the store that nobody reads them; who brings
/// back more than the memory holds needs nothing else to make room. Who reads few of them again and again does: when one is
/// asked for that would still be here had it gone in the order of uses, none goes before its turn for a while.
struct SpentObjects {
    private struct Had {
        let id: ObjectID
        let number: UInt64
        /// When it came back; nil when it was seen to be read since.
        let tick: UInt64?
        let asker: ClientSlot?
        let since: Duration
    }

    private struct Gone {
        let id: ObjectID
        /// Of all that has gone so, up to it.
        let bytes: UInt64
    }

    /// A get leaves no trace while nothing is created. Whoever asks for something else has what it asked for before, unless it has threads.
    private static let grace = Duration.milliseconds(10)
    /// What stays for so long goes in the order of uses, as everything else.
    private static let patience = Duration.seconds(2)
    private static let pause = Duration.seconds(10)
    private static let countMost = 4096
    /// The oldest of them: what lies behind is mostly not read yet.
    private static let looksMost = 16

    /// What the store holds.
    private let capacity: UInt64
    private var had: ArraySlice<Had> = []
    /// The last number of each of them: it may have gone and come back since.
    private var numbers: [ObjectID: UInt64] = [:]
    private var lastNumber: UInt64 = 0
    private var lastAsks: [ClientSlot: Duration] = [:]
    private var gone: ArraySlice<Gone> = []
    private var goneIDs: Set<ObjectID> = []
    private var goneBytes: UInt64 = 0
    private var pauseEnd = Duration.zero

    init(capacity: UInt64) {
        self.capacity = capacity
    }

    /// Somebody asks for an object that is not here.
    mutating func noteAsk(_ id: ObjectID, by asker: ClientSlot?, at now: Duration) {
        if let asker {
            if lastAsks.count >= Self.countMost { lastAsks = [:] }
            lastAsks[asker] = now
        }
        guard goneIDs.contains(id) else { return }
        pauseEnd = now + Self.pause
        gone = []
        goneIDs = []
        had = []
        numbers = [:]
    }

    /// It is here, for whoever has asked.
    mutating func noteHad(_ id: ObjectID, tick: UInt64?, by asker: ClientSlot?, at now: Duration) {
        guard now >= pauseEnd else { return }
        if had.count >= Self.countMost { _ = remove(at: had.startIndex) }
        lastNumber += 1
        numbers[id] = lastNumber
        had.append(Had(id: id, number: lastNumber, tick: tick, asker: asker, since: now))
    }

    /// It has come back for nobody yet.
    mutating func forget(_ id: ObjectID) {
        numbers[id] = nil
    }

    /// The one that was had first among those that nobody needs any more; nil when there is none.
    ///
    /// - Parameter look: what the store says of an object.
    mutating func takeNext(at now: Duration, look: (ObjectID) -> StoreEntry?) -> ObjectID? {
        while let first = had.first, now - first.since >= Self.patience { _ = remove(at: had.startIndex) }
        var place = had.startIndex
        var looks = 0
        while place < had.endIndex, looks < Self.looksMost {
            let object = had[place]
            guard numbers[object.id] == object.number, let entry = look(object.id), entry.state == .sealed else {
                place = remove(at: place)
                continue
            }
            if entry.pinningClients == 0, isRead(object, entry.accessTick, now) {
                _ = remove(at: place)
                return object.id
            }
            looks += 1
            place += 1
        }
        return nil
    }

    /// - Returns: where the next one is now. Mostly it is the first that goes, which costs nothing.
    private mutating func remove(at place: Int) -> Int {
        if numbers[had[place].id] == had[place].number { numbers[had[place].id] = nil }
        guard place == had.startIndex else {
            had.remove(at: place)
            return place
        }
        had.removeFirst()
        return had.startIndex
    }

    private func isRead(_ object: Had, _ tick: UInt64, _ now: Duration) -> Bool {
        guard let before = object.tick, before == tick else { return true }
        guard let asker = object.asker, let lastAsk = lastAsks[asker] else { return false }
        return lastAsk > object.since && now - object.since >= Self.grace
    }

    /// Its memory has gone.
    mutating func noteGone(_ id: ObjectID, _ bytes: UInt64) {
        goneBytes += bytes
        gone.append(Gone(id: id, bytes: goneBytes))
        goneIDs.insert(id)
        while let first = gone.first, goneBytes - first.bytes >= capacity || gone.count > Self.countMost {
            gone.removeFirst()
            goneIDs.remove(first.id)
        }
    }
}
