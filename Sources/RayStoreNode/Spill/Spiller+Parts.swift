// SPDX-License-Identifier: Apache-2.0
internal import RayStore

// Parts of large objects from the storage, without the rest.
extension Spiller {
    /// Reads a part into an object of its own.
    ///
    /// - Parameter asker: in whose turn it waits for room.
    /// - Returns: the part's size; nil when the object is to be brought back instead: it has no record that can be used, or most of it is
    ///   wanted.
    /// - Throws: `storeFull`; what the storage answered.
    func read(_ range: ByteRange, of id: ObjectID, as part: ObjectID, for asker: ClientSlot?) async throws(RayStoreError)
        -> UInt64?
    {
        guard let record = index.record(of: id), !isStopping,
            UInt64(SpilledPart.blocks(of: range, in: record).count) <= record.dataSize / 2
        else { return nil }
        activeParts += 1
        defer {
            activeParts -= 1
            noteIdle()
        }
        let reading = try await place(range, of: record, as: part, for: asker)
        restoreTimer.begin(at: clock.now)
        defer { restoreTimer.end(at: clock.now) }
        do throws(RayStoreError) {
            do throws(RayStoreError) {
                try await fill(reading, from: record, of: id)
            } catch {
                guard record.isWorthAnotherRead(after: error) else { throw error }
                try await fill(reading, from: record, of: id)
            }
        } catch {
            // Whole, it may be had from elsewhere when its disk fails.
            guard noteDamage(to: id, record, error) != nil || index.record(of: id) != record || Self.isDiskFailure(error) else {
                throw error
            }
            return nil
        }
        return reading.size
    }

    /// Reads all of the part, and shows it to everybody when it is right.
    private func fill(_ reading: SpilledPart, from record: SpillRecord, of id: ObjectID) async throws(RayStoreError) {
        reading.begin()
        if record.isPacked {
            try await readPacked(reading.extents, of: record.location.file) { reading.take($0, $1, of: id, with: $2) }
        }
        for (offset, memory) in reading.reads {
            try await storage.restore(record.location.file, from: offset, into: memory)
        }
        try await runBlocking(on: threads) { () throws(RayStoreError) in try reading.seal() }
    }

    /// Takes a place in the store for the part, or waits for one beside all others who want some.
    private func place(
        _ range: ByteRange, of record: SpillRecord, as part: ObjectID, for asker: ClientSlot?
    ) async throws(RayStoreError) -> SpilledPart {
        let store = store
        do throws(RayStoreError) {
            return try await runBlocking(on: threads) { () throws(RayStoreError) in
                try SpilledPart(range, of: record, as: part, in: store)
            }
        } catch {
            guard error.code == .storeFull, let room else { throw error }
            try await room.create(
                RoomRequest(
                    id: part, dataSize: range.count(of: record.dataSize), metadataSize: UInt32(record.metadataSize), client: nil,
                    limit: nil, asker: asker, comesBack: true))
        }
        let reservation = RoomReservation(part, in: store)
        return try await runBlocking(on: threads) { () throws(RayStoreError) in
            try SpilledPart(range, of: record, as: part, in: store, into: reservation)
        }
    }
}
