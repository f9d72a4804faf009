// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// Which objects have a record in the storage, and which files are still needed for that.
///
/// Asked from the transfer engine's threads and by several actors, so it is a lock and not an actor.
final class SpillIndex: Sendable {
    private struct Place {
        var record: SpillRecord?
        /// Being written; its record comes, unless the object ends before.
        var isSpilling = false
        /// Why the record is of no use.
        var damage: RayStoreError?
    }

    struct File: Sendable {
        var bytes: UInt64
        var liveCount: Int
        /// In the order in which the files' objects were chosen.
        let number: UInt64
        /// Those that it was entered with, in the order in which they lie in it.
        var ids: [ObjectID] = []
    }

    private struct Contents {
        var places: [ObjectID: Place] = [:]
        var files: [String: File] = [:]
        var recordCount: UInt64 = 0
        var recordBytes: UInt64 = 0
        var recordOwnBytes: UInt64 = 0
        var damagedCount: UInt64 = 0
        /// Of the records, what the largest object takes in the store; nil: to be looked for.
        var largest: UInt64? = 0

        /// Takes a record away. Answers its file's URL if that has no other.
        mutating func drop(_ record: SpillRecord) -> String? {
            recordCount -= 1
            recordBytes -= record.location.size
            recordOwnBytes -= record.ownBytes
            if let largest, record.memoryBytes >= largest { self.largest = nil }
            let url = record.location.file
            guard var file = files[url] else { return nil }
            file.liveCount -= 1
            files[url] = file.liveCount == 0 ? nil : file
            return file.liveCount == 0 ? url : nil
        }
    }

    private let contents = Mutex(Contents())

    /// Where the object can be read, if its record is not known to be damaged.
    func record(of id: ObjectID) -> SpillRecord? {
        contents.withLock { contents in
            guard let place = contents.places[id], place.damage == nil else { return nil }
            return place.record
        }
    }

    func damage(of id: ObjectID) -> RayStoreError? {
        contents.withLock { $0.places[id]?.damage }
    }

    func isKnown(_ id: ObjectID) -> Bool {
        contents.withLock { $0.places[id] != nil }
    }

    func isSpilling(_ id: ObjectID) -> Bool {
        contents.withLock { $0.places[id]?.isSpilling == true }
    }

    /// Claims objects for a batch. Those that are in one, or have a record, are left out.
    func begin(_ ids: [ObjectID]) -> [ObjectID] {
        contents.withLock { contents in
            ids.filter { id in
                guard contents.places[id] == nil else { return false }
                contents.places[id] = Place(isSpilling: true)
                return true
            }
        }
    }

    /// Lets go of objects of a batch that have no record from it.
    func abandon(_ ids: [ObjectID]) {
        contents.withLock { contents in
            for id in ids where contents.places[id]?.isSpilling == true { contents.places[id] = nil }
        }
    }

    /// Enters a file. Answers the objects that ended while it was written: their records are of no use.
    func commit(
        _ url: String, bytes: UInt64, number: UInt64 = 0, _ records: [(id: ObjectID, record: SpillRecord)]
    ) -> [ObjectID] {
        contents.withLock { contents in
            var ended: [ObjectID] = []
            var file = File(bytes: bytes, liveCount: 0, number: number, ids: records.map(\.id))
            for (id, record) in records {
                guard contents.places[id]?.isSpilling == true else {
                    ended.append(id)
                    continue
                }
                contents.places[id] = Place(record: record)
                contents.recordCount += 1
                contents.recordBytes += record.location.size
                contents.recordOwnBytes += record.ownBytes
                if let largest = contents.largest { contents.largest = max(largest, record.memoryBytes) }
                file.liveCount += 1
            }
            if file.liveCount > 0 { contents.files[url] = file }
            return ended
        }
    }

    /// The objects whose records lie in a file from this byte on, so many bytes of them. Nil when there are none.
    func objects(of url: String, from offset: UInt64, upTo most: UInt64) -> [(id: ObjectID, record: SpillRecord)]? {
        contents.withLock { contents in
            var found: [(id: ObjectID, record: SpillRecord)] = []
            var bytes: UInt64 = 0
            for id in contents.files[url]?.ids ?? [] {
                guard let place = contents.places[id], place.damage == nil, let record = place.record,
                    record.location.file == url, record.location.offset >= offset
                else { continue }
                bytes += record.location.size
                if bytes > most { return found }
                found.append((id, record))
            }
            return found.isEmpty ? nil : found
        }
    }

    /// The file whose objects were chosen next after those of this one.
    func file(after url: String) -> String? {
        contents.withLock { contents in
            guard let number = contents.files[url]?.number else { return nil }
            return contents.files.filter { $0.value.number > number }.min { $0.value.number < $1.value.number }?.key
        }
    }

    /// The object has ended, or is to be had elsewhere: its record is not needed.
    ///
    /// - Returns: what was recorded, and the file that is of no use any more.
    func forget(_ id: ObjectID) -> (hadRecord: Bool, emptyFile: String?) {
        contents.withLock { contents in
            guard let place = contents.places.removeValue(forKey: id), let record = place.record else { return (false, nil) }
            return (true, contents.drop(record))
        }
    }

    /// Notes that a record cannot be used. False when it is not the object's any more.
    func noteDamage(of id: ObjectID, _ record: SpillRecord, _ failure: RayStoreError) -> Bool {
        contents.withLock { contents in
            guard contents.places[id]?.record == record else { return false }
            guard contents.places[id]!.damage == nil else { return true }
            contents.places[id]!.damage = failure
            contents.damagedCount += 1
            return true
        }
    }

    /// What the largest object that has a record takes in the store; 0 when none has one.
    var largestMemoryBytes: UInt64 {
        contents.withLock { contents in
            if let largest = contents.largest { return largest }
            let largest = contents.places.values.reduce(UInt64(0)) { max($0, $1.record?.memoryBytes ?? 0) }
            contents.largest = largest
            return largest
        }
    }

    /// Records that were found damaged since the start.
    var damagedCount: UInt64 {
        contents.withLock { $0.damagedCount }
    }

    var counts: (records: UInt64, recordBytes: UInt64, recordOwnBytes: UInt64, files: UInt64, fileBytes: UInt64) {
        contents.withLock { contents in
            let bytes = contents.files.values.reduce(UInt64(0)) { $0 + $1.bytes }
            return (
                contents.recordCount, contents.recordBytes, contents.recordOwnBytes, UInt64(contents.files.count), bytes
            )
        }
    }
}
