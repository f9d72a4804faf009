// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import RayStore

/// The list of every file that the store made or took, kept in SQLite so that a restart finds what a killed node left behind.
///
/// A row is written before the file appears and removed after it went; a row without a file is harmless, a file without a row cannot be.
///
/// When a file was last used is not in it: a copy of another node's file ends with the node that pulled it, as the refs do that it was pulled for,
/// so no order of uses outlives a start.
final class FileCatalogue: Sendable {
    struct Row: Codable, FetchableRecord, PersistableRecord, Sendable {
        static let databaseTableName = "file"

        var object: String
        var path: String
        /// `copy`, `adopted` or `pulled`.
        var origin: String
        var isDetached: Bool
        /// Where its bytes are when they are not at the path but in the node's storage (`MovedFile.text`).
        var moved: String?
    }

    private let database: StateDatabase

    init(path: String) throws(RayStoreError) {
        database = try StateDatabase("the file catalogue", at: path) { migrator in
            migrator.registerMigration("1") { database in
                try database.create(table: Row.databaseTableName) { table in
                    table.primaryKey("object", .text)
                    table.column("path", .text).notNull()
                    table.column("origin", .text).notNull()
                    table.column("isDetached", .boolean).notNull()
                }
            }
            migrator.registerMigration("2") { database in
                try database.alter(table: Row.databaseTableName) { $0.add(column: "moved", .text) }
            }
            migrator.registerMigration("3") { database in
                try database.create(table: "sums") { table in
                    table.autoIncrementedPrimaryKey("serial")
                    table.column("identity", .integer).notNull().unique(onConflict: .replace)
                    table.column("sums", .blob).notNull()
                }
            }
        }
    }

    /// Lets go of the file, so that the directory's next node finds it unlocked; nothing can be noted any more.
    func close() {
        database.close()
    }

    func add(_ row: Row) throws(RayStoreError) {
        try database.write { try row.save($0) }
    }

    func remove(_ object: ObjectID) throws(RayStoreError) {
        try database.write { _ = try Row.deleteOne($0, key: object.description) }
    }

    func setDetached(_ object: ObjectID, _ isDetached: Bool) throws(RayStoreError) {
        try database.write {
            try $0.execute(
                sql: "UPDATE file SET isDetached = ? WHERE object = ?", arguments: [isDetached, object.description])
        }
    }

    func setMoved(_ object: ObjectID, to place: String) throws(RayStoreError) {
        try database.write {
            try $0.execute(sql: "UPDATE file SET moved = ? WHERE object = ?", arguments: [place, object.description])
        }
    }

    // MARK: Checksums of files, by what a file is recognised by

    /// The files of which they are kept; the oldest are forgotten first.
    static let sumsCountMax = 10_000

    func keep(_ sums: [UInt64], of identity: UInt64) throws(RayStoreError) {
        let bytes = sums.withUnsafeBytes { Data($0) }
        try database.write {
            try $0.execute(
                sql: "INSERT INTO sums (identity, sums) VALUES (?, ?)", arguments: [Int64(bitPattern: identity), bytes])
            try $0.execute(
                sql: "DELETE FROM sums WHERE serial <= (SELECT MAX(serial) FROM sums) - ?", arguments: [Self.sumsCountMax])
        }
    }

    func sums(of identity: UInt64) throws(RayStoreError) -> [UInt64]? {
        let bytes = try database.read {
            try Data.fetchOne($0, sql: "SELECT sums FROM sums WHERE identity = ?", arguments: [Int64(bitPattern: identity)])
        }
        return bytes.map { bytes in
            [UInt64](unsafeUninitializedCapacity: bytes.count / 8) { buffer, count in
                bytes.copyBytes(to: UnsafeMutableRawBufferPointer(buffer))
                count = bytes.count / 8
            }
        }
    }

    func all() throws(RayStoreError) -> [Row] {
        try database.read { try Row.fetchAll($0) }
    }

    func removeAll() throws(RayStoreError) {
        try database.write { _ = try Row.deleteAll($0) }
    }
}
