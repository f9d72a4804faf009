// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// An object that somebody waits for, and that has a record.
struct WantedObject: Sendable {
    let ticket: UInt64
    let id: ObjectID
    let record: SpillRecord
    let continuation: CheckedContinuation<Result<Void, RayStoreError>, Never>
}

// Objects from the storage.
extension Spiller {
    private static let passesAtOnce = 4
    /// Of one pass, so that its first objects do not wait for its last for long.
    private static let passBytes: UInt64 = 64 << 20
    private static let passObjects = 256
    /// Small objects of a file are read so many bytes at a time: what has just been read is still in the processor's cache when it is summed up.
    private static let readBytes: UInt64 = 8 << 20
    /// How often a pass drops what has a record to have places for its own objects, before it waits beside others.
    private static let evictionsMost = 3
    /// How long a storage that fails is asked again, when whoever waits has not given up before.
    private static let patience = Duration.seconds(30)
    /// How often a disk that cannot read is asked: it has tried long enough itself by then.
    private static let diskTries = 3

    /// Brings an object back. Returns when it is in the store, or when its state there has changed otherwise.
    ///
    /// - Throws: `corrupt` and `objectLost`, and `system` for what the disk cannot read, naming file and offset; `storeFull`; `cancelled` when the
    ///   task is; what the storage answered.
    func restore(_ id: ObjectID) async throws(RayStoreError) {
        var pause = Duration.milliseconds(5)
        var diskFailures = 0
        let end = clock.now + Self.patience
        while true {
            if let damage = index.damage(of: id) { throw damage }
            guard let record = index.record(of: id) else { return }
            do throws(RayStoreError) {
                try await fetch(id, record)
                return
            } catch {
                switch error.code {
                case .exists where store.entry(of: id)?.state == .creating:
                    // An earlier pass, whose waiters have gone, is at it.
                    break
                case .exists:
                    return
                case .again:
                    // There was room for others of its pass only.
                    continue
                default:
                    guard Self.mayPass(error.code), clock.now < end else { throw error }
                    if Self.isDiskFailure(error) { diskFailures += 1 }
                    guard diskFailures < Self.diskTries else { throw Self.unreadable(id, record.location, error) }
                    log.debug("restore again", metadata: ["object": "\(id)", "reason": "\(error.message)"])
                }
            }
            try? await clock.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(500))
            if Task.isCancelled { throw RayStoreError(.cancelled, "the get of \(id) was cancelled", object: id) }
        }
    }

    private static func mayPass(_ code: RayStoreError.Code) -> Bool {
        ![
            .corrupt, .objectLost, .storeFull, .tableFull, .tooLarge, .cancelled, .closed, .objectFreed, .ownerDied,
            .invalidArgument, .unsupported, .poisoned,
        ].contains(code)
    }

    /// Whether the disk itself failed, by what Linux makes of a block that cannot be read, or whose checksum is wrong.
    static func isDiskFailure(_ error: RayStoreError) -> Bool {
        [EIO, ENODATA, EILSEQ, EBADMSG, EUCLEAN, ENODEV, ENXIO].contains(error.systemErrno)
    }

    /// The record stays: another try may find the disk back.
    private static func unreadable(_ id: ObjectID, _ location: SpillLocation, _ error: RayStoreError) -> RayStoreError {
        RayStoreError(
            .system,
            "\(location.file), \(location.size) bytes at byte \(location.offset): what was spilled there of object \(id) cannot be read: "
                + error.message, systemErrno: error.systemErrno, object: id)
    }

    private func fetch(_ id: ObjectID, _ record: SpillRecord) async throws(RayStoreError) {
        nextTicket += 1
        let ticket = nextTicket
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Void, RayStoreError>, Never>) in
                if Task.isCancelled || isStopping {
                    continuation.resume(returning: .failure(isStopping ? Self.isStopped : Self.cancelled(id)))
                } else {
                    wanted.append(WantedObject(ticket: ticket, id: id, record: record, continuation: continuation))
                    startPasses()
                }
            }
        } onCancel: {
            Task { await self.withdraw(ticket) }
        }
        try result.get()
    }

    private static func cancelled(_ id: ObjectID) -> RayStoreError {
        RayStoreError(.cancelled, "the get of \(id) was cancelled", object: id)
    }

    /// Who waits in the queue leaves it; what a pass has begun it finishes.
    private func withdraw(_ ticket: UInt64) {
        guard let place = wanted.firstIndex(where: { $0.ticket == ticket }) else { return }
        let object = wanted.remove(at: place)
        object.continuation.resume(returning: .failure(Self.cancelled(object.id)))
    }

    // MARK: Passes

    /// The oldest request goes first, and takes along what else is wanted of its file.
    private func startPasses() {
        while activePasses < Self.passesAtOnce, let first = wanted.first {
            var batch: [WantedObject] = []
            var bytes: UInt64 = 0
            wanted.removeAll { object in
                guard object.record.location.file == first.record.location.file, batch.count < Self.passObjects,
                    batch.isEmpty || bytes + object.record.location.size <= Self.passBytes
                else { return false }
                batch.append(object)
                bytes += object.record.location.size
                return true
            }
            activePasses += 1
            restoreTimer.begin(at: clock.now)
            let objects = batch.sorted { $0.record.location.offset < $1.record.location.offset }
            Task {
                await self.run(objects)
                self.restoreTimer.end(at: self.clock.now)
                self.activePasses -= 1
                self.startPasses()
                self.noteIdle()
            }
        }
    }

    private func run(_ objects: [WantedObject]) async {
        let pass = RestorePass(in: store)
        let placed = await place(objects, in: pass)
        guard let first = placed.first else { return }
        // Far away a request costs more than what is near gains.
        let most = first.record.path == nil ? UInt64.max : Self.readBytes
        for run in pass.runs(upTo: most) { await read(run, of: pass, for: placed) }
    }

    /// Takes places in the store for the objects. One that has none answers why; those behind it are asked for again: whoever holds places must
    /// not wait for more.
    private func place(_ objects: [WantedObject], in pass: RestorePass) async -> [WantedObject] {
        var placed: [WantedObject] = []
        var rest = objects[...]
        var evictions = 0
        while let first = rest.first {
            let asked = Array(rest)
            var full: RayStoreError?
            for (object, outcome) in zip(asked, await tryPlaces(asked, in: pass)) {
                switch outcome {
                case .success:
                    placed.append(object)
                case .failure(let error) where error.code == .storeFull:
                    full = error
                    continue
                case .failure(let error):
                    object.continuation.resume(returning: .failure(error))
                }
                rest.removeFirst()
            }
            // In one go, for a look at the whole store for each would cost more than reading it.
            if full != nil, evictions < Self.evictionsMost {
                evictions += 1
                let missing = rest.reduce(UInt64(0)) { $0 + $1.record.dataSize + $1.record.metadataSize }
                if await evictClean(missing) > 0 { continue }
            }
            guard let full, placed.isEmpty, rest.first?.ticket == first.ticket else {
                // Some others were refused before one that found no room: that one is the first now.
                if full != nil, placed.isEmpty { continue }
                break
            }
            rest.removeFirst()
            do throws(RayStoreError) {
                try await placeInTurn(first, in: pass, orThrow: full)
                placed.append(first)
                break
            } catch {
                first.continuation.resume(returning: .failure(error))
            }
        }
        for object in rest {
            object.continuation.resume(returning: .failure(RayStoreError(.again, "no room yet", object: object.id)))
        }
        return placed
    }

    /// One outcome for each, up to the first that found the store full.
    private func tryPlaces(_ objects: [WantedObject], in pass: RestorePass) async -> [Result<Void, RayStoreError>] {
        let outcomes = try? await runBlocking(on: threads) { () throws(RayStoreError) in
            var outcomes: [Result<Void, RayStoreError>] = []
            for object in objects {
                outcomes.append(Result { () throws(RayStoreError) in try pass.add(object.id, object.record) })
                if case .failure(let error)? = outcomes.last, error.code == .storeFull { break }
            }
            return outcomes
        }
        let noThread = RayStoreError(.system, "no thread can be made: raise the process's thread limit (ulimit -u)")
        return outcomes ?? objects.map { _ in .failure(noThread) }
    }

    /// Waits for a place beside all others who want one.
    private func placeInTurn(
        _ object: WantedObject, in pass: RestorePass, orThrow failure: RayStoreError
    ) async throws(RayStoreError) {
        guard let room else { throw failure }
        let record = object.record
        try await room.create(
            RoomRequest(
                id: object.id, dataSize: record.dataSize, metadataSize: UInt32(record.metadataSize), client: nil, limit: nil))
        let reservation = RoomReservation(object.id, in: store)
        try await runBlocking(on: threads) { () throws(RayStoreError) in try pass.add(object.id, record, into: reservation) }
    }

    /// Reads what lies together at once; when that fails, each by itself, for one that is damaged must not take the others along.
    private func read(_ run: RestorePass.Run, of pass: RestorePass, for objects: [WantedObject]) async {
        let file = pass.record(run.items.lowerBound).location.file
        do throws(RayStoreError) {
            if pass.isPacked(run) {
                try await readPacked(pass.extents(of: run), of: file) { pass.take($0, $1, with: $2) }
            } else {
                try await storage.restore(file, from: run.offset, into: pass.memory(of: run))
            }
        } catch {
            if run.items.count == 1 {
                finish(objects[run.items.lowerBound], .failure(error))
                return
            }
            for item in run.items {
                let single = RestorePass.Run(items: item..<(item + 1), offset: pass.record(item).location.offset)
                await read(single, of: pass, for: objects)
            }
            return
        }
        let outcomes = try? await runBlocking(on: threads) { () throws(RayStoreError) in
            run.items.map { item in Result { () throws(RayStoreError) in try pass.seal(item) } }
        }
        for (place, item) in run.items.enumerated() {
            let noThread = RayStoreError(.system, "no thread can be made: raise the process's thread limit (ulimit -u)")
            finish(objects[item], outcomes?[place] ?? .failure(noThread))
        }
    }

    private func finish(_ object: WantedObject, _ result: Result<Void, RayStoreError>) {
        var result = result
        switch result {
        case .success:
            counters.restoredObjects += 1
            counters.restoredBytes += object.record.location.size
            index.endDoubt(of: object.id)
        case .failure(let error):
            if isDoubted(object.id, object.record, error) {
                let again = "what came of \(object.record.location.file) is not what was laid down; it is read once more"
                result = .failure(RayStoreError(.again, again, object: object.id))
            } else if let damage = noteDamage(to: object.id, object.record, error) {
                result = .failure(damage)
            }
        }
        object.continuation.resume(returning: result)
    }

    /// Whether to read once more before a record is given up: on its way from another machine what was right may have become wrong.
    func isDoubted(_ id: ObjectID, _ record: SpillRecord, _ error: RayStoreError) -> Bool {
        error.code == .corrupt && storage.localPath(of: record.location.file) == nil && index.noteDoubt(of: id, record)
    }

    /// Gives up a record that cannot be used any more.
    ///
    /// - Returns: why, or nil when the failure does not mean that.
    func noteDamage(to id: ObjectID, _ record: SpillRecord, _ error: RayStoreError) -> RayStoreError? {
        guard let damage = record.location.damage(to: id, error), index.noteDamage(of: id, record, damage) else {
            return nil
        }
        log.debug("a spilled object is damaged", metadata: ["object": "\(id)", "reason": "\(damage.message)"])
        return damage
    }

}
