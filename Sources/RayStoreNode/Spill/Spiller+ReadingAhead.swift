// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

// What is brought back before anybody asks, since what lies before it in its file was got in that order. It takes memory that is free, or that
// records can give up without a write, and only up to the high watermark; when memory is needed it goes before anything is written.
extension Spiller {
    private static let readAheadsAtOnce = 2
    private static let looksForRoom = 3
    /// When there was no room.
    private static let pause = Duration.milliseconds(50)
    private static let shortPause = Duration.milliseconds(5)
    /// Gets of what is here make no request, so what is held is looked at now and then while somebody seems to read it: the more often the fewer objects it
    /// is, for a look costs some microseconds for each, and a piece is used up in a few milliseconds.
    private static let lookEvery = Duration.milliseconds(1)...Duration.milliseconds(10)
    private static let lookOfOne = Duration.microseconds(10)

    /// Somebody has asked for these.
    func noteAsked(_ objects: [WantedObject]) {
        let now = clock.now
        readAhead.withLock { ahead in
            for object in objects { ahead.noteGot(object.record, at: now) }
        }
        // The reader may have used it after the last look, and goes on now.
        watchHeld()
    }

    /// The object is here, and somebody wants it. Called for every get that comes to the node, mostly of what was never spilled.
    ///
    /// - Parameter isSeen: whether it is being read, or has been.
    nonisolated func noteUse(of id: ObjectID, isSeen: Bool = false) {
        guard readAhead.withLock({ $0.held[id] != nil }) else { return }
        // What comes next must not take the memory before whoever asked has pinned it.
        store.touch(id)
        let now = clock.now
        let tick = isSeen ? nil : store.entry(of: id)?.accessTick
        let isUsed = readAhead.withLock { ahead in
            guard let held = ahead.release(id) else { return false }
            ahead.noteGot(held.record, at: now)
            ahead.spent.noteHad(id, tick: tick, by: nil, at: now)
            ahead.usedCount += 1
            return ahead.next(at: now) != nil
        }
        guard isUsed, !isReadingFurther.exchange(true, ordering: .relaxed) else { return }
        Task { await self.readFurther() }
    }

    /// The object has been read.
    func noteRead(_ object: WantedObject) {
        guard object.continuation == nil else {
            noteHad(object)
            return
        }
        counters.readAheadObjects += 1
        counters.readAheadBytes += object.record.location.size
        if coming[object.id]?.isEmpty == false {
            readAhead.withLock { $0.usedCount += 1 }
            noteAsked([object])
            noteHad(object)
        } else if let entry = store.entry(of: object.id), entry.state == .sealed {
            readAhead.withLock { $0.hold(object.id, object.record, tick: entry.accessTick) }
            watchHeld()
        }
    }

    private func noteHad(_ object: WantedObject) {
        guard let tick = store.entry(of: object.id)?.accessTick else { return }
        readAhead.withLock { $0.spent.noteHad(object.id, tick: tick, by: object.asker, at: clock.now) }
    }

    // MARK: Reading

    /// Begins to read what will be wanted next, when nothing is wanted now.
    func readFurther() {
        isReadingFurther.store(false, ordering: .relaxed)
        guard !isStopping, readAhead.withLock({ $0.limit > 0 }) else { return }
        while wanted.isEmpty, activeReadAheads < Self.readAheadsAtOnce {
            guard let place = readAhead.withLock({ $0.next(at: clock.now) }) else { return }
            let objects: [WantedObject]
            switch takeNext(in: place.file, from: place.from, upTo: place.bytes) {
            case .objects(let found): objects = found
            case .tooLarge: return
            case .end:
                guard crossOver(from: place.file) else { return }
                continue
            }
            if objects.isEmpty { continue }
            let bytes = objects.reduce(UInt64(0)) { $0 + $1.record.location.size }
            activeReadAheads += 1
            readAhead.withLock { $0.comingBytes += bytes }
            begin(objects) {
                await self.runAhead(objects)
                await self.endReadAhead(bytes)
            }
        }
    }

    private func endReadAhead(_ bytes: UInt64) {
        activeReadAheads -= 1
        readAhead.withLock { $0.comingBytes -= bytes }
    }

    private enum NextPiece {
        /// Without what is here already.
        case objects([WantedObject])
        /// The next object is larger than what may be read ahead now.
        case tooLarge
        case end
    }

    /// What is to be read now: of a file of this machine a piece, so that two passes share it; elsewhere a request costs more than that gains.
    private func takeNext(in file: String, from offset: UInt64, upTo bytes: UInt64) -> NextPiece {
        guard var found = index.objects(of: file, from: offset, upTo: bytes)?[...] else { return .end }
        if found.first?.record.path != nil {
            let most = readAhead.withLock { $0.pieceBytes }
            var before: UInt64 = 0
            found = found.prefix { object in
                defer { before += object.record.location.size }
                return before < most
            }
        }
        guard let last = found.last?.record.location else {
            readAhead.withLock { ahead in
                // There is more room when something of it has been used, which is noticed; else only the trail grows.
                if ahead.heldBytes + ahead.comingBytes == 0 { ahead.pause(until: clock.now + Self.pause) }
            }
            return .tooLarge
        }
        readAhead.withLock { $0.noteReached(last.offset + last.size, of: file) }
        return .objects(
            found.filter { coming[$0.id] == nil && store.entry(of: $0.id)?.state == .remote }
                .map { WantedObject(ticket: 0, id: $0.id, record: $0.record, continuation: nil) })
    }

    /// - Returns: whether there is more to read in another file.
    private func crossOver(from file: String) -> Bool {
        guard let next = index.file(after: file) else { return false }
        return readAhead.withLock { $0.crossOver(from: file, to: next) }
    }

    private func runAhead(_ objects: [WantedObject]) async {
        let wantedBytes = objects.reduce(UInt64(0)) { $0 + $1.storeBytes }
        let room = await roomAhead(wantedBytes)
        var bytes: UInt64 = 0
        var rest = objects.prefix { object in
            bytes += object.storeBytes
            return bytes <= room
        }
        let beyond = objects[rest.count...]
        let pass = RestorePass(in: store)
        var placed: [WantedObject] = []
        _ = await takePlaces(&rest, in: pass, for: &placed)
        claimedAhead -= wantedBytes
        if let first = rest.first ?? beyond.first {
            readAhead.withLock { ahead in
                ahead.goBack(to: first.record)
                // What has found room is on its way, and the reader with it; the rest is tried again behind it.
                if placed.isEmpty {
                    // Another pass has what there was, and goes on.
                    ahead.pause(until: clock.now + (activeReadAheads > 1 ? Self.shortPause : Self.pause))
                }
            }
        }
        refuse(rest + beyond)
        await readAll(of: pass, for: placed)
    }

    /// How much may come now, at most so much. All of it is claimed until it has its places: passes that look for room at the same time must not
    /// count on the same. Who was first does not count what the others claim, or neither would have any.
    private func roomAhead(_ wanted: UInt64) async -> UInt64 {
        let claimedBefore = claimedAhead
        claimedAhead += wanted
        // Who waits for memory must not wait for longer.
        if let room, await room.count > 0 { return 0 }
        let most = UInt64(Double(capacity - keptBytes) * options.highWatermark)
        // Again, for others take room while this looks for some.
        for _ in 0..<Self.looksForRoom {
            let taken = store.usedBytes + min(claimedBefore, claimedAhead - wanted)
            guard taken + wanted > most else { return wanted }
            guard await evictClean(taken + wanted - most) > 0 else { break }
        }
        let taken = store.usedBytes + min(claimedBefore, claimedAhead - wanted)
        return taken < most ? min(most - taken, wanted) : 0
    }

    // MARK: What is held

    /// Looks at what is held as long as somebody seems to read it.
    private func watchHeld() {
        guard heldWatch == nil, !isStopping, readAhead.withLock({ !$0.held.isEmpty }) else { return }
        heldWatch = Task {
            while !Task.isCancelled, self.noteUsedHeld() {
                self.readFurther()
                let count = self.readAhead.withLock { $0.held.count }
                try? await self.clock.sleep(
                    for: min(max(Self.lookOfOne * count, Self.lookEvery.lowerBound), Self.lookEvery.upperBound))
            }
            self.heldWatch = nil
        }
    }

    /// - Returns: whether anything is held that is still waited for.
    private func noteUsedHeld() -> Bool {
        let now = clock.now
        for (id, held) in readAhead.withLock({ $0.held }) {
            if let entry = store.entry(of: id), entry.state == .sealed {
                if entry.pinningClients > 0 || entry.accessTick != held.tick {
                    noteUse(of: id, isSeen: true)
                } else {
                    // It would keep others from being read ahead. It counts as used: most of what lies behind a reader was got.
                    readAhead.withLock { ahead in
                        if ahead.isPassed(held.record) { ahead.noteUsed(id) }
                    }
                }
            } else {
                // It has ended, or was given up by somebody else.
                _ = readAhead.withLock { $0.release(id) }
            }
        }
        return readAhead.withLock { ahead in ahead.held.values.contains { !ahead.isStale($0.record.location.file, at: now) } }
    }

    /// Gives up what was read ahead and is not used, and believes those no more for whom it was read. What has been used is not held any more: with
    /// its trail nobody looks at it again.
    ///
    /// - Parameter onlyStale: only what nobody seems to want any more.
    func dropHeld(_ bytes: UInt64, onlyStale: Bool = false) -> UInt64 {
        let now = clock.now
        let chosen = readAhead.withLock { ahead in
            ahead.held.filter { !onlyStale || ahead.isStale($0.value.record.location.file, at: now) }
                .sorted { $0.value.tick > $1.value.tick }
        }
        var freed: [UInt64] = []
        var freedBytes: UInt64 = 0
        for (id, held) in chosen where freedBytes < bytes {
            let entry = store.entry(of: id)
            guard let entry, entry.state == .sealed, entry.accessTick == held.tick else {
                readAhead.withLock { ahead in
                    if entry?.state == .sealed { ahead.noteUsed(id) } else { _ = ahead.release(id) }
                }
                continue
            }
            guard let more = store.evict(id), more > 0 else { continue }
            readAhead.withLock { ahead in
                _ = ahead.release(id)
                ahead.end(held.record.location.file)
            }
            freed.append(more)
            freedBytes += more
        }
        return noteEvicted(freed)
    }
}
