// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import Synchronization

// Memory for those who need it: what exists elsewhere goes first, then what has a record, what was read ahead last among it unless nobody seems to
// want it, then the rest is written; of each the least recently used first, and the small ones last.
extension Spiller {
    /// Frees memory of the store.
    ///
    /// - Parameter isWanted: whether still more is; asked after each step, of which one is always made.
    /// - Returns: how much came free meanwhile, by what was done for this call or beside it: two calls for the same request do not free twice as
    ///   much. Fewer bytes than wanted when there is no more to give up: what is left is pinned, or cannot be written now.
    func free(_ bytes: UInt64, while isWanted: @Sendable () async -> Bool = { true }) async -> UInt64 {
        let before = freedBytes
        var freed: UInt64 = 0
        var vain = 0
        // Twice: what was chosen first may have ended, or been pinned, meanwhile.
        while freed < bytes, vain < 2, !isStopping {
            _ = await freeSome(bytes - freed)
            let now = freedBytes - before
            vain = now == freed ? vain + 1 : 0
            freed = now
            if freed < bytes, await !isWanted() { break }
        }
        return freed
    }

    private func freeSome(_ bytes: UInt64) async -> UInt64 {
        let file = options.fileBytes(inStoreOf: capacity)
        let hasReplicas = await ownership?.hasReplicas == true
        if !storage.canSpill && !hasReplicas { return 0 }
        // Among what was used longest ago only: what has just come back, or from elsewhere, must stay until who asked for it has pinned it.
        let window = max(bytes, file)
        var victims = await victims(window)
        var freed = hasReplicas ? await giveUpReplicas(victims, upTo: bytes) : 0
        // Copies that must stay, since their owners do not answer or have no other, are not to be in the way of what can go.
        if freed < bytes, hasReplicas { victims = await self.victims(window, among: victims) { $0.standing == .primary } }
        if freed < bytes { freed += dropHeld(bytes - freed, onlyStale: true) }
        if freed < bytes { freed += evictClean(victims, upTo: bytes - freed) }
        // A copy that is older than half of the store goes before anything is written; where nothing can be, it may lie behind all that must stay.
        let copies = storage.canSpill ? capacity / 2 : capacity
        if freed < bytes, hasReplicas, copies > window {
            freed += await giveUpReplicas(self.victims(copies), upTo: bytes - freed)
        }
        if freed < bytes { freed += dropHeld(bytes - freed) }
        if freed >= bytes || !storage.canSpill { return freed }
        var primaries: [Victim] = []
        if mayWrite {
            // Others may lie between them, and another call have claimed some meanwhile: a file is to have its size all the same.
            primaries = await self.victims(file, orCount: options.fileObjects, among: victims, where: isUnwritten)
        }
        guard mayWrite, !primaries.isEmpty else {
            if freed == 0, clock.now < holdOffUntil { freed = await evictAnyClean(bytes) }
            return freed + (freed == 0 ? await awaitSpill() : 0)
        }
        let left = Self.bytes(of: primaries)
        let share = left < window ? shareOfLast(left, file: file) : file
        var batch: [StoreEntry] = []
        var batchBytes: UInt64 = 0
        for victim in primaries where batchBytes < share && batch.count < options.fileObjects {
            batch.append(victim.entry)
            batchBytes += victim.entry.memoryBytes
        }
        freed += await spill(batch)
        return freed == 0 && clock.now < holdOffUntil ? await evictAnyClean(bytes) : freed
    }

    /// How much goes into the next file when there is no more to be written than this. The last files are evened out, or the last of all would be
    /// small, and written alone while the other writers have nothing left.
    private func shareOfLast(_ left: UInt64, file: UInt64) -> UInt64 {
        if left < 2 * file { return left }
        let writers = UInt64(max(1, options.concurrentFiles))
        return left < 2 * writers * file ? max(file, left / writers) : file
    }

    /// When nothing can be written, what has a record goes wherever it stands among what cannot go.
    private func evictAnyClean(_ bytes: UInt64) async -> UInt64 {
        evictClean(await victims(capacity), upTo: bytes)
    }

    /// Writes what is used longest ago when the store is nearly full, so that who makes objects need not wait for it.
    func watch() async {
        let pause = Duration.milliseconds(20)
        var next = pause
        var before: UInt64 = 0
        while !Task.isCancelled {
            try? await clock.sleep(for: next)
            let used = store.usedBytes
            let usable = Double(capacity - keptBytes)
            let high = UInt64(usable * options.highWatermark)
            let low = UInt64(usable * options.lowWatermark)
            next = used == before ? min(next * 2, .milliseconds(500)) : pause
            before = used
            guard used > high, !Task.isCancelled else { continue }
            // When nothing can be given up now, looking again at once would not help.
            next = await free(used - low) == 0 ? .seconds(1) : pause
        }
    }

    // MARK: Victims

    /// What takes about as long to bring as to ask for.
    private static let smallBytes: UInt64 = 100 << 10

    /// An object that could make room.
    private struct Victim {
        let entry: StoreEntry
        let standing: Ownership.Standing
    }

    /// Objects of so many bytes that are neither read nor being written.
    private func victims(_ bytes: UInt64) async -> [Victim] {
        var limit = 4096
        var asked = bytes + claimedBytes
        while true {
            let (store, wanted, most) = (store, asked, limit)
            guard
                let found = try? await runBlocking(
                    on: threads,
                    { () throws(RayStoreError) in
                        try store.victims(wanted, limit: most)
                    })
            else { return [] }
            let usable = found.filter(canGo)
            let foundBytes = found.reduce(UInt64(0)) { $0 + $1.memoryBytes }
            let isAll = found.count < limit && foundBytes < asked
            if isAll || limit > 1 << 20 || usable.reduce(UInt64(0), { $0 + $1.memoryBytes }) >= bytes {
                let standings = await ownership?.standings(of: usable.map(\.id)) ?? []
                return zip(usable, standings).map { Victim(entry: $0, standing: $1) }
            }
            // Small ones that may not go are in the way.
            if found.count == limit { limit *= 8 } else { asked *= 4 }
        }
    }

    /// Those of a kind for so many bytes, or so many of them, whatever lies between them.
    ///
    /// - Parameter seen: what was found for so many bytes, or more.
    private func victims(
        _ bytes: UInt64, orCount count: Int = .max, among seen: [Victim], where isWanted: (Victim) -> Bool
    ) async -> [Victim] {
        var asked = bytes
        var found = seen
        while true {
            let wanted = found.filter(isWanted)
            let isAll = Self.bytes(of: found) < asked
            if isAll || asked >= capacity || Self.bytes(of: wanted) >= bytes || wanted.count >= count { return wanted }
            // What went since it was found is in nobody's way.
            asked = bytes + found.reduce(0) { $0 + (isWanted($1) ? 0 : store.entry(of: $1.entry.id)?.memoryBytes ?? 0) }
            found = await victims(asked)
        }
    }

    /// Whether only a write makes room of it.
    private func isUnwritten(_ victim: Victim) -> Bool {
        victim.standing == .primary && !index.isKnown(victim.entry.id)
    }

    /// Whether a file may be begun now.
    private var mayWrite: Bool { activeSpills < options.concurrentFiles && clock.now >= holdOffUntil }

    private static func bytes(of victims: [Victim]) -> UInt64 {
        victims.reduce(0) { $0 + $1.entry.memoryBytes }
    }

    private func canGo(_ entry: StoreEntry) -> Bool {
        entry.memoryBytes > 0 && entry.pinningClients == 0 && (entry.referringClients > 0 || entry.nodeHasRef)
            && entry.id.job != .none && !files.has(entry.id) && !index.isSpilling(entry.id)
    }

    // MARK: Without writing

    /// What costs least to have again for the memory that it gives goes first: a small object costs a way to its owner, or to the disk, for next
    /// to nothing. Among those of a kind the order stays.
    private static func byCost(_ victims: [Victim]) -> [Victim] {
        victims.filter { $0.entry.memoryBytes > smallBytes } + victims.filter { $0.entry.memoryBytes <= smallBytes }
    }

    private func giveUpReplicas(_ victims: [Victim], upTo bytes: UInt64) async -> UInt64 {
        var chosen: [StoreEntry] = []
        var chosenBytes: UInt64 = 0
        for isKept in [false, true] {
            let replicas = Self.byCost(victims.filter { $0.standing == .replica(isKept: isKept) })
            for victim in replicas where chosenBytes < bytes {
                chosen.append(victim.entry)
                chosenBytes += victim.entry.memoryBytes
            }
        }
        guard !chosen.isEmpty, let freed = await ownership?.giveUpReplicas(chosen.map(\.id), isLastHope: !storage.canSpill) else {
            return 0
        }
        return noteEvicted(freed)
    }

    /// Gives up memory of objects that have a record, and of nothing else: neither writes nor waits for anybody. Not of what is read ahead.
    func evictClean(_ bytes: UInt64) async -> UInt64 {
        var freed = evictDroppable(bytes)
        if freed < bytes { freed += evictSpent(bytes - freed) }
        guard freed < bytes else { return freed }
        // Twice as much as may go, for what was used last among what could go may have come just now.
        let most = max(bytes - freed, capacity / 4)
        let found = await victims(2 * most)
        let foundBytes = found.reduce(UInt64(0)) { $0 + $1.entry.memoryBytes }
        var bytesBefore: UInt64 = 0
        let old = found.prefix { victim in
            defer { bytesBefore += victim.entry.memoryBytes }
            return bytesBefore < max(bytes - freed, min(most, foundBytes / 2))
        }
        droppable = clean(Array(old)).map(\.entry)[...]
        freed += evictDroppable(bytes - freed)
        return freed
    }

    /// What those have behind them who read what came back. In the order of uses it would be the last to go, after what has to be written.
    private func evictSpent(_ bytes: UInt64) -> UInt64 {
        let (store, now) = (store, clock.now)
        var freed: [UInt64] = []
        var freedBytes: UInt64 = 0
        while freedBytes < bytes, let id = readAhead.withLock({ $0.spent.takeNext(at: now, look: store.entry) }) {
            guard index.record(of: id) != nil, let more = store.evict(id), more > 0 else { continue }
            readAhead.withLock { $0.spent.noteGone(id, more) }
            freed.append(more)
            freedBytes += more
        }
        return noteEvicted(freed)
    }

    /// Those that were found by the last look and that nobody has used since.
    private func evictDroppable(_ bytes: UInt64) -> UInt64 {
        var freed: [UInt64] = []
        var freedBytes: UInt64 = 0
        while freedBytes < bytes, let found = droppable.popFirst() {
            guard index.record(of: found.id) != nil, store.entry(of: found.id)?.accessTick == found.accessTick,
                let more = store.evict(found.id)
            else { continue }
            freed.append(more)
            freedBytes += more
        }
        return noteEvicted(freed)
    }

    /// For objects that are wanted now: what is read ahead goes last, for it is wanted next.
    func evictForRestore(_ bytes: UInt64) async -> UInt64 {
        let freed = await evictClean(bytes)
        return freed < bytes ? freed + dropHeld(bytes - freed) : freed
    }

    private func clean(_ victims: [Victim]) -> [Victim] {
        let held = readAhead.withLock { ahead in
            // Used since the last look, if there is another: neither kept for a reader nor what `dropHeld` may take.
            for victim in victims where ahead.held[victim.entry.id].map({ $0.tick < victim.entry.accessTick }) == true {
                ahead.noteUsed(victim.entry.id)
            }
            return ahead.held
        }
        let staying = returns.staying(at: clock.now)
        return Self.byCost(
            victims.filter { victim in
                let id = victim.entry.id
                return index.record(of: id) != nil && held[id] == nil && !staying.contains(id)
            })
    }

    private func evictClean(_ victims: [Victim], upTo bytes: UInt64) -> UInt64 {
        var freed: [UInt64] = []
        var freedBytes: UInt64 = 0
        for victim in clean(victims) where freedBytes < bytes {
            guard let more = store.evict(victim.entry.id) else { continue }
            freed.append(more)
            freedBytes += more
        }
        return noteEvicted(freed)
    }

    /// What objects have freed; nothing, where others were first with them.
    func noteEvicted(_ freed: [UInt64]) -> UInt64 {
        let bytes = freed.reduce(0, +)
        counters.evictedObjects += UInt64(freed.count { $0 > 0 })
        counters.evictedBytes += bytes
        freedBytes += bytes
        return bytes
    }
}
