// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import RayStore

/// The list of every spill file and what lies in it, kept in SQLite so that the node's next life finds what this one left behind.
///
/// A file's row is written after the file and before any object relies on it; it goes after the file went. So a file without a row is one that was
/// being written when the node was killed, and nobody needs it. Within a life the index in memory is what counts, so rows of records that are
/// of no use may go later. Each call blocks on the disk.
final class SpillManifest: Sendable {
    struct File: Codable, FetchableRecord, PersistableRecord, Sendable {
        static let databaseTableName = "file"

        /// A file's name only together with the service's: two services may each have one of that URL.
        var url: String
        /// `ExternalStorage.service`: who may be asked to delete it.
        var storage: String
        var bytes: Int64
        var count: Int
        /// The node's life that wrote it.
        var session: String
        /// Nothing in it is needed; it goes as soon as the storage lets it.
        var isEnding: Bool
    }

    struct Record: Codable, FetchableRecord, PersistableRecord, Sendable {
        static let databaseTableName = "record"

        var object: String
        var storage: String
        var url: String
        var offset: Int64
        var size: Int64
        var dataSize: Int64
        /// XXH3-64 as it is stored: the same bits, signed.
        var dataChecksum: Int64
        var metadataChecksum: Int64
        var owner: String

        init(_ id: ObjectID, _ record: SpillRecord, in storage: String, owner: String) {
            object = id.description
            self.storage = storage
            url = record.location.file
            offset = Int64(clamping: record.location.offset)
            size = Int64(clamping: record.location.size)
            dataSize = Int64(clamping: record.dataSize)
            dataChecksum = Int64(bitPattern: record.location.checksum ?? 0)
            metadataChecksum = Int64(bitPattern: record.metadataChecksum)
            self.owner = owner
        }
    }

    let database: StateDatabase

    init(path: String) throws(RayStoreError) {
        database = try StateDatabase("the list of spilled objects", at: path) { migrator in
            migrator.registerMigration("1") { database in
                try database.create(table: File.databaseTableName) { table in
                    table.primaryKey("url", .text)
                    table.column("storage", .text).notNull()
                    table.column("bytes", .integer).notNull()
                    table.column("count", .integer).notNull()
                    table.column("session", .text).notNull()
                    table.column("isEnding", .boolean).notNull()
                }
                try database.create(table: Record.databaseTableName) { table in
                    table.primaryKey("object", .text)
                    table.column("url", .text).notNull().indexed()
                        .references(File.databaseTableName, column: "url", onDelete: .cascade)
                    table.column("offset", .integer).notNull()
                    table.column("size", .integer).notNull()
                    table.column("dataSize", .integer).notNull()
                    table.column("dataChecksum", .integer).notNull()
                    table.column("metadataChecksum", .integer).notNull()
                    table.column("owner", .text).notNull()
                }
            }
            migrator.registerMigration("2") { database in
                try database.create(table: Place.databaseTableName) { table in
                    table.column("service", .text).notNull()
                    table.column("folder", .text).notNull()
                    table.primaryKey(["service", "folder"])
                }
            }
            migrator.registerMigration("3", migrate: Self.keyByServiceToo)
        }
    }

    /// Records are not carried over: what was an earlier life's is needed by nobody.
    private static func keyByServiceToo(_ database: Database) throws {
        try database.drop(table: Record.databaseTableName)
        try database.rename(table: File.databaseTableName, to: "fileByURL")
        try database.create(table: File.databaseTableName) { table in
            table.column("storage", .text).notNull()
            table.column("url", .text).notNull()
            table.column("bytes", .integer).notNull()
            table.column("count", .integer).notNull()
            table.column("session", .text).notNull()
            table.column("isEnding", .boolean).notNull()
            table.primaryKey(["storage", "url"])
        }
        // At first the type of a storage was noted, and not who has its files.
        try database.execute(
            sql: """
                INSERT INTO file (storage, url, bytes, count, session, isEnding)
                SELECT CASE WHEN storage IN ('unstable_fs', 'slow_fs') THEN 'filesystem' ELSE storage END,
                    url, bytes, count, session, isEnding FROM fileByURL
                """)
        try database.drop(table: "fileByURL")
        try database.create(table: Record.databaseTableName) { table in
            table.primaryKey("object", .text)
            table.column("storage", .text).notNull()
            table.column("url", .text).notNull()
            table.column("offset", .integer).notNull()
            table.column("size", .integer).notNull()
            table.column("dataSize", .integer).notNull()
            table.column("dataChecksum", .integer).notNull()
            table.column("metadataChecksum", .integer).notNull()
            table.column("owner", .text).notNull()
            table.foreignKey(
                ["storage", "url"], references: File.databaseTableName, columns: ["storage", "url"], onDelete: .cascade)
        }
        try database.create(index: "recordByFile", on: Record.databaseTableName, columns: ["storage", "url"])
    }

    /// Lets go of the file, so that the directory's next node finds it unlocked; nothing can be noted any more.
    func close() {
        database.close()
    }

    /// Enters a file that is no record's.
    func add(_ file: File) throws(RayStoreError) {
        try database.write { try file.save($0) }
    }

    /// Enters a file with its records, and takes out those that have come to be of no use since.
    func add(_ file: File, _ records: [Record], without unused: [ObjectID]) throws(RayStoreError) {
        try database.write { database in
            for object in unused { try Record.deleteOne(database, key: object.description) }
            // One of that name may be left from an earlier life, on its way out: this one is in its place now.
            try file.save(database)
            for record in records { try record.insert(database, onConflict: .replace) }
        }
    }

    func remove(_ unused: [ObjectID]) throws(RayStoreError) {
        try database.write { database in
            for object in unused { try Record.deleteOne(database, key: object.description) }
        }
    }

    /// Nothing in the file is needed any more.
    func noteEnding(_ url: String, of storage: String) throws(RayStoreError) {
        try database.write { database in
            let key: StatementArguments = [storage, url]
            try database.execute(sql: "UPDATE file SET isEnding = TRUE WHERE storage = ? AND url = ?", arguments: key)
            try database.execute(sql: "DELETE FROM record WHERE storage = ? AND url = ?", arguments: key)
        }
    }

    /// The storage does not have the file any more.
    func removeFile(_ url: String, of storage: String) throws(RayStoreError) {
        try database.write { _ = try File.deleteOne($0, key: ["storage": storage, "url": url]) }
    }

    func files() throws(RayStoreError) -> [File] {
        try database.read { try File.fetchAll($0) }
    }

    func records() throws(RayStoreError) -> [Record] {
        try database.read { try Record.fetchAll($0) }
    }
}
