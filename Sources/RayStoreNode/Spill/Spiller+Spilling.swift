// SPDX-License-Identifier: Apache-2.0
internal import FoundationEssentials
internal import Logging
internal import RayStore
internal import Synchronization

// Objects to the storage.
extension Spiller {
    /// Writes a file of these objects, or of the first of them, and gives up the memory of those that nobody reads by then.
    ///
    /// - Returns: the bytes that are free for it. None when it could not be written: then the objects are as before.
    func spill(_ victims: [StoreEntry]) async -> UInt64 {
        let claimed = Set(index.begin(victims.map(\.id)))
        let bytes = victims.reduce(UInt64(0)) { claimed.contains($1.id) ? $0 + $1.memoryBytes : $0 }
        guard !claimed.isEmpty else { return 0 }
        activeSpills += 1
        fileCount += 1
        let number = fileCount
        claimedBytes += bytes
        let freed = await write(victims.filter { claimed.contains($0.id) }, asFile: number)
        claimedBytes -= bytes
        freedBytes += freed
        activeSpills -= 1
        index.abandon(Array(claimed))
        for waiter in spillWaiters { waiter.resume(returning: freed) }
        spillWaiters = []
        noteIdle()
        return freed
    }

    private func write(_ victims: [StoreEntry], asFile number: UInt64) async -> UInt64 {
        // From here on the node has a ref of each: the end of one is told, and its record goes with it.
        guard let owned = await ownership?.claim(victims.map(\.id)), !owned.isEmpty else { return 0 }
        let (store, owner, packing, storage) = (store, owner, packing, storage)
        guard
            let batch = try? await runBlocking(
                on: threads,
                { () throws(RayStoreError) in
                    try PinnedBatch(owned, owner: owner, packing: packing, for: storage, in: store)
                }), let layout = batch.layout
        else { return 0 }
        do throws(RayStoreError) {
            let recorded = try await record(layout, of: batch, asFile: number)
            return await giveUp(batch, recorded)
        } catch {
            batch.release()
            counters.failedSpills += 1
            log.debug("not spilled", metadata: ["objects": "\(batch.ids.count)", "reason": "\(error.message)"])
            return 0
        }
    }

    /// Writes the file and enters it.
    ///
    /// - Returns: how many of the batch are in it.
    private func record(
        _ layout: SpillLayout, of batch: PinnedBatch, asFile number: UInt64
    ) async throws(RayStoreError) -> Int {
        guard let manifest else { throw RayStoreError(.unsupported, "there is no list of what is spilled") }
        await isSwept.wait()
        let name = layout.batch.name
        await deleteEnding(ending.filter { SpillNames.isFile($0, of: name) })
        await names.reserve(name)
        defer { names.release(name) }
        let file = try await writeFile(layout)
        let ids = batch.ids.prefix(file.recordCount)
        let path = storage.localPath(of: file.url)
        let records = ids.indices.map { (id: ids[$0], record: layout.record($0, in: file.url, path: path)) }
        let bytes = layout.batch.byteCount(ofFirst: ids.count)
        let row = SpillManifest.File(
            url: file.url, storage: place.service, bytes: Int64(clamping: bytes), count: ids.count, session: owner,
            isEnding: false)
        let rows = records.map { SpillManifest.Record($0.id, $0.record, in: place.service, owner: owner) }
        let old = unused.withLock { unused in
            // An earlier file of that name was to go: this one is in its place now.
            unused.files.removeAll { $0 == file.url }
            return unused.takeRecords()
        }
        ending.remove(file.url)
        do throws(RayStoreError) {
            try await runBlocking(on: threads) { () throws(RayStoreError) in try manifest.add(row, rows, without: old) }
        } catch {
            // What the manifest does not know of must not be relied on.
            await discard(file.url)
            throw error
        }
        counters.spilledObjects += UInt64(ids.count)
        counters.spilledBytes += bytes
        counters.spilledOwnBytes += records.reduce(0) { $0 + $1.record.ownBytes }
        let ended = index.commit(file.url, bytes: bytes, number: number, records)
        keepRoom()
        noteUnused(ended, ended.count == ids.count ? file.url : nil)
        return ids.count
    }

    /// A failure that may pass is tried again a few times; one that only room can mend holds the next files off.
    private func writeFile(_ layout: SpillLayout) async throws(RayStoreError) -> SpilledFile {
        var pause = Duration.milliseconds(10)
        var attempt = 0
        while true {
            attempt += 1
            do throws(RayStoreError) {
                let file = try await writeOnce(layout)
                holdOff = .zero
                guard file.recordCount > 0 else {
                    await discard(file.url)
                    throw RayStoreError(.system, "\(storage.typeName): a file without any record was written: \(file.url)")
                }
                return file
            } catch {
                let needsRoom = error.code == .outOfDisk
                guard !needsRoom, attempt < 4, !isStopping else {
                    holdOff = min(max(holdOff * 2, .milliseconds(100)), .seconds(5))
                    holdOffUntil = clock.now + holdOff
                    throw error
                }
            }
            try? await clock.sleep(for: pause)
            pause *= 4
        }
    }

    private func writeOnce(_ layout: SpillLayout) async throws(RayStoreError) -> SpilledFile {
        let begin = clock.now
        activeWrites += 1
        spillTimer.begin(at: begin)
        defer {
            activeWrites -= 1
            spillTimer.end(at: clock.now)
        }
        let file = try await storage.spill(layout.batch)
        counters.spilledAt = Date().timeIntervalSince1970
        let bytes = layout.batch.byteCount(ofFirst: file.recordCount)
        // The rest of the time it was this node that was slow.
        packing?.pace?.note(bytes, in: max(clock.now - begin - layout.packedAgain, .milliseconds(1)), beside: activeWrites)
        return file
    }

    /// Lets go of the batch and of the memory of what is recorded. What somebody reads keeps its memory, and its record.
    private func giveUp(_ batch: PinnedBatch, _ count: Int) async -> UInt64 {
        let (store, index) = (store, index)
        let freed = try? await runBlocking(on: threads) { () throws(RayStoreError) -> UInt64 in
            batch.release()
            return batch.ids.prefix(count).reduce(0) { freed, id in
                freed + (index.record(of: id) == nil ? 0 : store.evict(id) ?? 0)
            }
        }
        // Without a thread to be had they stay pinned by nobody, and are evicted by whoever needs memory next.
        guard let freed else {
            batch.release()
            return 0
        }
        return freed
    }

    /// Returns when one of the files under way has ended, with what it freed.
    func awaitSpill() async -> UInt64 {
        guard activeSpills > 0 else { return 0 }
        return await withCheckedContinuation { spillWaiters.append($0) }
    }
}
