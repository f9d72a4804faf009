// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import Synchronization

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

// Objects from the storage.
extension Spiller {
    /// How long a storage that fails is asked again, when whoever waits has not given up before.
    private static let patience = Duration.seconds(30)
    /// How often a disk that cannot read is asked: it has tried long enough itself by then.
    private static let diskTries = 3

    /// Somebody else wants what may be wanted already: it comes in the turn of either.
    func join(_ id: ObjectID, for asker: ClientSlot?) {
        turns.join(id, for: asker)
    }

    /// Brings an object back. Returns when it is in the store, or when its state there has changed otherwise.
    ///
    /// - Parameter asker: in whose turn; nil for nobody's of this node.
    /// - Throws: `corrupt` and `objectLost`, and `system` for what the disk cannot read, naming file and offset; `storeFull`; `cancelled` when the
    ///   task is; what the storage answered.
    func restore(_ id: ObjectID, for asker: ClientSlot? = nil) async throws(RayStoreError) {
        var pause = Duration.milliseconds(5)
        var diskFailures = 0
        let end = clock.now + Self.patience
        while true {
            if let damage = index.damage(of: id) { throw damage }
            guard let record = index.record(of: id) else { return }
            do throws(RayStoreError) {
                try await fetch(id, record, for: asker)
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

    private func fetch(_ id: ObjectID, _ record: SpillRecord, for asker: ClientSlot?) async throws(RayStoreError) {
        nextTicket += 1
        let ticket = nextTicket
        readAhead.withLock { $0.spent.noteAsk(id, by: asker, at: clock.now) }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Void, RayStoreError>, Never>) in
                if Task.isCancelled || isStopping {
                    continuation.resume(returning: .failure(isStopping ? Self.isStopped : Self.cancelled(id)))
                } else if coming[id] != nil {
                    coming[id]!.append(continuation)
                } else {
                    turns.add(id, for: asker)
                    wanted.append(
                        WantedObject(ticket: ticket, id: id, record: record, continuation: continuation, asker: asker))
                    schedulePasses()
                }
            }
        } onCancel: {
            Task { await self.withdraw(ticket) }
        }
        try result.get()
    }

    static func cancelled(_ id: ObjectID) -> RayStoreError {
        RayStoreError(.cancelled, "the get of \(id) was cancelled", object: id)
    }

    /// Who waits in the queue leaves it; what a pass has begun it finishes.
    private func withdraw(_ ticket: UInt64) {
        guard let place = wanted.firstIndex(where: { $0.ticket == ticket }) else { return }
        let object = wanted.remove(at: place)
        turns.remove(object.id)
        object.continuation?.resume(returning: .failure(Self.cancelled(object.id)))
    }

    // MARK: What became of it

    func finish(_ object: WantedObject, _ result: Result<Void, RayStoreError>) {
        var result = result
        returns.end(object.id, at: clock.now)
        switch result {
        case .success:
            counters.restoredObjects += 1
            counters.restoredBytes += object.record.location.size
            noteRead(object)
        case .failure(let error):
            if let damage = noteDamage(to: object.id, object.record, error) {
                result = .failure(damage)
            }
        }
        answer(object, result)
    }

    /// Tells who waits, and who has come while the object was on its way.
    func answer(_ object: WantedObject, _ result: Result<Void, RayStoreError>) {
        let later = coming.removeValue(forKey: object.id) ?? []
        object.continuation?.resume(returning: result)
        for continuation in later { continuation.resume(returning: result) }
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
