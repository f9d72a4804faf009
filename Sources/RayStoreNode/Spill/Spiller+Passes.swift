// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

// Passes: objects of one file that are brought back together, in the order in which they lie there.
extension Spiller {
    private static let passesAtOnce = 4
    private static let passObjects = 1024
    /// Of one pass over a file of this machine, so that its first objects do not wait for its last for long; and so much at least, when that leaves
    /// less than half of what is wanted to others.
    private static let nearBytes = UInt64(8 << 20)...(64 << 20)
    /// Of one pass over a file elsewhere: a request costs more there than what comes first gains.
    private static let farBytes: UInt64 = 256 << 20
    /// Read and verified by one call, of a file of this machine.
    private static let readBytes: UInt64 = 8 << 20
    /// How often a pass drops what has a record to have places for its own objects, before it waits beside others.
    private static let evictionsMost = 3

    /// Begins passes when those who ask at the same time have been heard: what is asked for together is read together.
    func schedulePasses() {
        guard !arePassesScheduled else { return }
        arePassesScheduled = true
        Task {
            self.arePassesScheduled = false
            self.startPasses()
        }
    }

    func startPasses() {
        while activePasses - passesInRoom < Self.passesAtOnce, let next = turns.next(among: wanted.lazy.map(\.id)) {
            let objects = takeBatch(with: wanted[next.place])
            noteAsked(objects)
            begin(objects) {
                await self.run(objects, for: next.asker)
                await self.endTurn(of: next.asker)
            }
        }
        readFurther()
    }

    private func endTurn(of asker: ClientSlot?) {
        turns.endPass(of: asker)
    }

    /// Runs a pass.
    func begin(_ objects: [WantedObject], _ run: @escaping @Sendable () async -> Void) {
        for object in objects { coming[object.id] = [] }
        activePasses += 1
        Task {
            await run()
            self.activePasses -= 1
            self.startPasses()
            self.noteIdle()
        }
    }

    /// The one whose turn it is takes along what else is wanted of its file: what lies behind it, then what lies before. It is the first to have
    /// a place, the others come in the order in which they lie there.
    private func takeBatch(with first: WantedObject) -> [WantedObject] {
        let ofFile = wanted.filter { $0.record.location.file == first.record.location.file }
            .sorted { $0.record.location.offset < $1.record.location.offset }
        let from = ofFile.firstIndex { $0.ticket == first.ticket } ?? 0
        let all = ofFile.reduce(UInt64(0)) { $0 + $1.record.location.size }
        let near = Self.nearBytes
        let most = first.record.path == nil ? Self.farBytes : min(max(all / 2, near.lowerBound), near.upperBound)
        var batch: [WantedObject] = []
        var bytes: UInt64 = 0
        for object in ofFile[from...] + ofFile[..<from] {
            bytes += object.record.location.size
            guard batch.isEmpty || (bytes <= most && batch.count < Self.passObjects) else { break }
            batch.append(object)
        }
        let tickets = Set(batch.map(\.ticket))
        wanted.removeAll { tickets.contains($0.ticket) }
        for object in batch { turns.remove(object.id) }
        return [first] + batch.dropFirst().sorted { $0.record.location.offset < $1.record.location.offset }
    }

    private func run(_ objects: [WantedObject], for asker: ClientSlot?) async {
        let pass = RestorePass(in: store)
        let placed = await place(objects, in: pass, for: asker).sorted { $0.record.location.offset < $1.record.location.offset }
        pass.sort()
        await readAll(of: pass, for: placed)
    }

    // MARK: Places

    /// Takes places in the store for the objects. One that has none answers why; those behind it are asked for again: whoever holds places must
    /// not wait for more.
    private func place(_ objects: [WantedObject], in pass: RestorePass, for asker: ClientSlot?) async -> [WantedObject] {
        var placed: [WantedObject] = []
        var rest = objects[...]
        var evictions = 0
        while let first = rest.first {
            let full = await takePlaces(&rest, in: pass, for: &placed)
            // In one go, for a look at the whole store for each would cost more than reading it.
            if full != nil, evictions < Self.evictionsMost {
                evictions += 1
                let missing = rest.reduce(UInt64(0)) { $0 + $1.storeBytes }
                if await evictForRestore(missing) > 0 { continue }
            }
            guard let full, placed.isEmpty, rest.first?.ticket == first.ticket else {
                // Some others were refused before one that found no room: that one is the first now.
                if full != nil, placed.isEmpty { continue }
                break
            }
            // They have turns of their own meanwhile.
            refuse(rest.dropFirst())
            rest = []
            do throws(RayStoreError) {
                try await placeInTurn(first, in: pass, for: asker, orThrow: full)
                placed.append(first)
            } catch {
                answer(first, .failure(error))
            }
        }
        refuse(rest)
        return placed
    }

    /// Takes as many places as there are now; who can have none is answered.
    ///
    /// - Returns: why the first that is left over found no place; nil when none is left.
    func takePlaces(
        _ rest: inout ArraySlice<WantedObject>, in pass: RestorePass, for placed: inout [WantedObject]
    ) async -> RayStoreError? {
        let asked = Array(rest)
        for (object, outcome) in zip(asked, await tryPlaces(asked, in: pass)) {
            switch outcome {
            case .success: placed.append(object)
            case .failure(let error) where error.code == .storeFull: return error
            case .failure(let error): answer(object, .failure(error))
            }
            rest.removeFirst()
        }
        return nil
    }

    /// There was no room for these beside the others of their pass.
    func refuse(_ rest: some Sequence<WantedObject>) {
        for object in rest { answer(object, .failure(RayStoreError(.again, "no room yet", object: object.id))) }
    }

    /// One outcome for each, up to the first that found the store full.
    private func tryPlaces(_ objects: [WantedObject], in pass: RestorePass) async -> [Result<Void, RayStoreError>] {
        let index = index
        let outcomes = try? await runBlocking(on: threads) { () throws(RayStoreError) in
            var outcomes: [Result<Void, RayStoreError>] = []
            for object in objects {
                outcomes.append(Result { () throws(RayStoreError) in try pass.add(object.id, object.record, listedIn: index) })
                if case .failure(let error)? = outcomes.last, error.code == .storeFull { break }
            }
            return outcomes
        }
        return outcomes ?? objects.map { _ in .failure(Self.hasNoThread) }
    }

    /// Waits for a place beside all others who want one.
    private func placeInTurn(
        _ object: WantedObject, in pass: RestorePass, for asker: ClientSlot?, orThrow failure: RayStoreError
    ) async throws(RayStoreError) {
        guard let room else { throw failure }
        let record = object.record
        // Whoever waits here keeps no other pass from what there is room for.
        passesInRoom += 1
        startPasses()
        defer { passesInRoom -= 1 }
        try await room.create(
            RoomRequest(
                id: object.id, dataSize: record.dataSize, metadataSize: UInt32(record.metadataSize), client: nil, limit: nil,
                asker: asker, comesBack: true))
        returns.begin(object.id)
        let (index, reservation) = (index, RoomReservation(object.id, in: store))
        do throws(RayStoreError) {
            try await runBlocking(on: threads) { () throws(RayStoreError) in
                try pass.add(object.id, record, into: reservation, listedIn: index)
            }
        } catch {
            returns.end(object.id, at: clock.now)
            throw error
        }
    }

    // MARK: Reading

    func readAll(of pass: RestorePass, for objects: [WantedObject]) async {
        guard let first = objects.first else { return }
        restoreTimer.begin(at: clock.now)
        defer { restoreTimer.end(at: clock.now) }
        for run in pass.runs(upTo: first.record.path == nil ? .max : Self.readBytes) { await read(run, of: pass, for: objects) }
    }

    /// Reads what lies together at once; when that fails, each by itself, for one that is damaged must not take the others along.
    private func read(
        _ run: RestorePass.Run, of pass: RestorePass, for objects: [WantedObject], isAgain: Bool = false
    ) async {
        let outcomes: [Result<Void, RayStoreError>]
        do throws(RayStoreError) {
            outcomes = try await readAndSeal(run, of: pass)
        } catch {
            if run.items.count == 1 {
                await settle(run.items.lowerBound, of: pass, for: objects, .failure(error), isAgain: isAgain)
                return
            }
            for item in run.items { await read(pass.single(item), of: pass, for: objects) }
            return
        }
        for (place, item) in run.items.enumerated() {
            await settle(item, of: pass, for: objects, outcomes[place], isAgain: isAgain)
        }
    }

    /// Says what became of an object, or reads it by itself once more.
    private func settle(
        _ item: Int, of pass: RestorePass, for objects: [WantedObject], _ result: Result<Void, RayStoreError>, isAgain: Bool
    ) async {
        if case .failure(let error) = result {
            if !isAgain, objects[item].record.isWorthAnotherRead(after: error) {
                await read(pass.single(item), of: pass, for: objects, isAgain: true)
                return
            }
            pass.abort(item)
        }
        finish(objects[item], result)
    }

    private func readAndSeal(
        _ run: RestorePass.Run, of pass: RestorePass
    ) async throws(RayStoreError) -> [Result<Void, RayStoreError>] {
        let location = pass.record(run.items.lowerBound).location
        if !pass.isPacked(run), let path = pass.record(run.items.lowerBound).path {
            // By one thread: what it has read is in its core's cache when it is summed up.
            return try await runBlocking(on: .slow) { () throws(RayStoreError) in
                try pass.read(run, fromFileAt: path)
                return pass.seal(run)
            }
        }
        if pass.isPacked(run) {
            try await readPacked(pass.extents(of: run), of: location.file) { pass.take($0, $1, with: $2) }
        } else {
            try await storage.restore(location.file, from: run.offset, into: pass.memory(of: run))
        }
        return try await runBlocking(on: threads) { () throws(RayStoreError) in pass.seal(run) }
    }

    private static let hasNoThread = RayStoreError(.system, "no thread can be made: raise the process's thread limit (ulimit -u)")
}
