// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import Synchronization

// Room on the disk: copies of other nodes' files that can be had again go when a file needs their place.
//
// A copy may go when no process has it open and its owner says that there is another. The owner counts this node out in the same step, so
// that of two nodes with the last two copies only one may let go. The object stays known here, as remote: the next get pulls it again.
extension Ownership: DiskReliever {
    /// How long an owner may take to answer: a node that cannot be reached must not hold up what others would allow. The cluster gives up a node
    /// that is silent for as long.
    private static let ownerPatience = Duration.seconds(2)
    /// For how long a copy that has just come stays: whoever got it is about to open it. Between the two lie the answer over the client's socket
    /// and the waking of its thread: microseconds at rest, and some turns of the scheduler, of some milliseconds each, beside tens of busy threads.
    /// Chosen, not measured: one that goes too early costs the get another pull and nothing else.
    static let firstUseGrace = Duration.milliseconds(250)

    func relieveDisk(of bytes: UInt64) async -> DiskRelief {
        // What nobody has asked for since the node began is the first to go.
        let left = files.left
        let freed = try? await runBlocking { left.relieve(of: bytes) }
        if let freed, freed > 0 { return .went }
        let copies = files.copiesByUse
        // A prefetched copy that nobody here has wanted yet is the last to go.
        var rest = (copies.filter { !isPrefetched($0) } + copies.filter { isPrefetched($0) })[...]
        var openBytes: UInt64 = 0
        while !rest.isEmpty {
            var batch: [ObjectID] = []
            var sum: UInt64 = 0
            var isEarly = false
            while sum < bytes, !isEarly, let id = rest.popFirst() {
                guard let size = files.descriptor(of: id)?.size else { continue }
                if !mayLetGo(id) {
                    openBytes += size
                } else if let arrival = files.arrival(of: id), clock.now - arrival < Self.firstUseGrace {
                    isEarly = true
                } else {
                    batch.append(id)
                    sum += size
                }
            }
            if await letGo(batch) > 0 { return .went }
            // In its turn, or those that were used later would go first.
            if isEarly { return .soon }
        }
        return await moveOwn(bytes) ?? .open(openBytes)
    }

    func whatHoldsTheDisk() async -> String {
        var open = (count: 0, bytes: UInt64(0))
        var primary = open
        for (id, file) in files.all {
            switch file.origin {
            case .reference: continue
            case .copy, .adopted:
                primary.count += 1
                primary.bytes += file.size
            case .pulled where (store.entry(of: id)?.pinningClients ?? 0) > 0:
                open.count += 1
                open.bytes += file.size
            case .pulled: continue
            }
        }
        var parts: [String] = []
        if primary.count > 0 { parts.append("\(primary.bytes) bytes are \(primary.count) files that this node owns") }
        if open.count > 0 { parts.append("\(open.bytes) bytes are \(open.count) copies that processes have open") }
        return parts.joined(separator: ", ")
    }

    private func isPrefetched(_ id: ObjectID) -> Bool {
        prefetches[id]?.keepsCopy == true
    }

    private func mayLetGo(_ id: ObjectID) -> Bool {
        guard borrowed[id] != nil, let entry = store.entry(of: id) else { return false }
        return entry.state == .sealed && entry.pinningClients == 0
    }

    /// Lets go of those whose owners agree; answers how many went.
    private func letGo(_ ids: [ObjectID]) async -> Int {
        var byOwner: [NodeID: [ObjectID]] = [:]
        for id in ids {
            if let owner = borrowed[id]?.owner { byOwner[owner, default: []].append(id) }
        }
        var count = 0
        for (owner, ids) in byOwner {
            let outcomes = await askToLetGo(ids, of: owner)
            for (id, outcome) in zip(ids, outcomes) where outcome == nil {
                if await drop(id, of: owner) { count += 1 }
            }
        }
        return count
    }

    private func drop(_ id: ObjectID, of owner: NodeID) async -> Bool {
        // Somebody may have opened it while its owner was asked.
        guard borrowed[id] != nil, files.has(id), mayLetGo(id), store.evict(id) != nil else {
            if borrowed[id] != nil { links.tell(owner, .hold([id])) }
            return false
        }
        catalog.stopServing(id)
        transfer.forget(id)
        log.debug("a file copy went for want of room", metadata: ["object": "\(id)"])
        await files.drop(id)
        if isPrefetched(id) {
            prefetches[id]!.expiry.cancel()
            prefetches[id]!.isHere = false
            prefetches[id]!.failure = PeerFailure(
                RayStoreError(.outOfDisk, "the copy of \(id) on node \(me.short) had to make room for others", object: id))
            await settleBorrowed([id])
        }
        return true
    }

    /// Asks in turn with what else is said to the owner, so that a copy that was just announced is not announced after it went.
    private func askToLetGo(_ ids: [ObjectID], of owner: NodeID) async -> [PeerFailure?] {
        let noAnswer = [PeerFailure?](
            repeating: PeerFailure(RayStoreError(.unreachable, "node \(owner.short) did not answer")), count: ids.count)
        return await withCheckedContinuation { continuation in
            let answer = FirstAnswer(continuation)
            Task {
                var outcomes = noAnswer
                if case .outcomes(let given)? = try? await links.ask(owner, .letGo(ids)), given.count == ids.count {
                    outcomes = given
                }
                guard !answer.give(outcomes) else { return }
                // Too late: the copies stay, and the owner is told so.
                let allowed = zip(ids, outcomes).filter { $0.1 == nil }.map(\.0)
                let kept = allowed.filter { borrowed[$0] != nil && store.entry(of: $0)?.state == .sealed }
                if !kept.isEmpty { links.tell(owner, .hold(kept)) }
            }
            Task {
                try? await clock.sleep(for: Self.ownerPatience)
                _ = answer.give(noAnswer)
            }
        }
    }

    /// The owner's side: whether a holder may let go, since there is another copy.
    func allowLettingGo(of id: ObjectID, to holder: NodeID) throws(RayStoreError) {
        guard let record = owned[id] else { throw catalog.absence(of: id) }
        if catalog.moved[id] != nil {
            // In the storage: it can be brought back.
        } else if store.entry(of: id)?.state == .sealed {
            // A file that was put by reference and has changed since is only to be had from copies.
            try files.checkUnchanged(id)
        } else if spiller.index.record(of: id) == nil, !record.holders.contains(where: { $0 != holder && peers[$0] != nil }) {
            throw RayStoreError(.inUse, "node \(holder.short) has the last copy of \(id)", object: id)
        }
        owned[id]!.removeHolder(holder)
        publishHolders(of: id)
    }
}

/// Takes the first of two answers.
private final class FirstAnswer: Sendable {
    private let continuation: Mutex<CheckedContinuation<[PeerFailure?], Never>?>

    init(_ continuation: CheckedContinuation<[PeerFailure?], Never>) {
        self.continuation = Mutex(continuation)
    }

    /// - Returns: whether it was the first.
    func give(_ outcomes: [PeerFailure?]) -> Bool {
        let first = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        first?.resume(returning: outcomes)
        return first != nil
    }
}
