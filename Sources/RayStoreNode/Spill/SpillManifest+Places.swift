// SPDX-License-Identifier: Apache-2.0
internal import GRDB
internal import RayStore

// Where the node's lives have spilled to. A place is noted before anything is written there and forgotten when all of it is gone, so that another
// configuration does not make what lies there unknown.
extension SpillManifest {
    struct Place: Codable, FetchableRecord, PersistableRecord, Sendable {
        static let databaseTableName = "place"

        var service: String
        var folder: String
    }

    func note(_ place: StoragePlace) throws(RayStoreError) {
        try database.write { database in
            for folder in place.folders { try Place(service: place.service, folder: folder).save(database) }
        }
    }

    /// Files of which only the type of their storage was noted, as at first, are taken to be this place's when they lie in its folders.
    func adopt(_ typeName: String, by place: StoragePlace) throws(RayStoreError) {
        guard typeName != place.service else { return }
        try database.write { database in
            for var file in try File.fetchAll(database)
            where file.storage == typeName && place.has(file.url, of: place.service) {
                try file.delete(database)
                file.storage = place.service
                try file.save(database)
            }
        }
    }

    /// What there is in other places than this one, by folder.
    func left(besides place: StoragePlace) throws(RayStoreError) -> [LeftStorage] {
        let (files, places) = try database.read { (try File.fetchAll($0), try Place.fetchAll($0)) }
        var left: [String: LeftStorage] = [:]
        for other in places where other.service != place.service || !place.folders.contains(other.folder) {
            left[other.service + " " + other.folder] = LeftStorage(
                service: other.service, folder: other.folder, fileCount: 0, bytes: 0)
        }
        for file in files where !place.has(file.url, of: file.storage) {
            let folder = String(
                file.url[..<(file.url.lastIndex(of: "/").map { file.url.index(after: $0) } ?? file.url.startIndex)])
            let key = file.storage + " " + folder
            var found =
                left[key]
                ?? LeftStorage(service: file.storage, folder: folder.isEmpty ? file.storage : folder, fileCount: 0, bytes: 0)
            found.fileCount += 1
            found.bytes += UInt64(clamping: file.bytes)
            left[key] = found
        }
        return left.values.sorted { ($0.service, $0.folder) < ($1.service, $1.folder) }
    }

    /// The user does not want to hear of other places any more.
    func forget(besides place: StoragePlace) throws(RayStoreError) {
        try database.write { database in
            for file in try File.fetchAll(database) where !place.has(file.url, of: file.storage) {
                try file.delete(database)
            }
            for other in try Place.fetchAll(database)
            where other.service != place.service || !place.folders.contains(other.folder) {
                try other.delete(database)
            }
        }
    }

    /// Nothing is left in this place.
    func clear(_ place: StoragePlace) throws(RayStoreError) {
        try database.write { database in
            for file in try File.fetchAll(database) where place.has(file.url, of: file.storage) {
                try file.delete(database)
            }
            for folder in place.folders { try Place(service: place.service, folder: folder).delete(database) }
        }
    }
}
