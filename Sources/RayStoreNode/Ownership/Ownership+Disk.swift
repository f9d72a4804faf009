// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

// Room on the disk: copies of other nodes' files that can be had again go when a file needs their place.
//
// A copy may go when no process has it open and its owner says that there is another. The owner counts this node out in the same step, so
// that of two nodes with the last two copies only one may let go. The object stays known here, as remote: the next get pulls it again.
extension Ownership: DiskReliever {
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
            if await letGo(of: batch, by: drop) > 0 { return .went }
            // Somebody may have come to read one of them meanwhile.
            for id in batch where files.has(id) && !mayLetGo(id) { openBytes += files.descriptor(of: id)?.size ?? 0 }
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

    private func drop(_ id: ObjectID) async -> Bool {
        guard files.has(id), mayLetGo(id), store.evict(id) != nil else { return false }
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
}
