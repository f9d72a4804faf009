// SPDX-License-Identifier: Apache-2.0
internal import FoundationEssentials
internal import GRDB
internal import RayStore

/// What the control store must not forget, in SQLite: which numbers were given, who lived last, jobs, names.
///
/// AUTOINCREMENT keeps a number from being given again even when its row is gone, and every commit reaches the disk before its
/// answer goes out: an id that was once handed out is not handed out again after a power cut either. The file is locked for as long as
/// it is open, so that two heads cannot give the same numbers.
final class ControlDatabase: Sendable {
    private static let layoutVersion = 1

    private let queue: DatabaseQueue
    private let place: String

    init(path: String?) throws(RayStoreError) {
        place = path ?? "in memory"
        var configuration = Configuration()
        if path != nil { configuration.journalMode = .wal }
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL")
        }
        do {
            queue =
                try path.map { try DatabaseQueue(path: $0, configuration: configuration) }
                ?? DatabaseQueue(configuration: configuration)
            try queue.write { try Self.prepareTables($0, place: path ?? "in memory") }
        } catch {
            throw Self.failure(error, place: path ?? "in memory")
        }
    }

    func close() {
        try? queue.close()
    }

    private static func prepareTables(_ database: Database, place: String) throws {
        // Beside the others and not among them: a library that does not know these is not disturbed by them.
        try database.execute(
            sql: """
                CREATE TABLE IF NOT EXISTS cluster (session TEXT NOT NULL);
                CREATE TABLE IF NOT EXISTS missing (id TEXT PRIMARY KEY) WITHOUT ROWID;
                """)
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        if version == layoutVersion { return }
        guard version == 0 else {
            throw RayStoreError(
                .layoutMismatch,
                "the control store \(place) has layout \(version), this library reads \(layoutVersion); start the head with the library that made it, or with another state directory"
            )
        }
        try database.execute(
            sql: """
                CREATE TABLE node (
                    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, description TEXT NOT NULL,
                    isLiving INTEGER NOT NULL, isOwn INTEGER NOT NULL);
                CREATE TABLE job (
                    number INTEGER PRIMARY KEY AUTOINCREMENT, driverNode TEXT NOT NULL, namespace TEXT NOT NULL,
                    isRunning INTEGER NOT NULL);
                CREATE INDEX jobByDriver ON job (driverNode) WHERE isRunning;
                CREATE TABLE name (
                    namespace TEXT NOT NULL, name TEXT NOT NULL, object TEXT NOT NULL,
                    PRIMARY KEY (namespace, name)) WITHOUT ROWID;
                CREATE INDEX nameByObject ON name (object);
                PRAGMA user_version = \(layoutVersion);
                """)
    }

    /// Runs a transaction.
    func write<Result>(_ body: (Database) throws -> Result) throws(RayStoreError) -> Result {
        do {
            return try queue.write(body)
        } catch {
            throw Self.failure(error, place: place)
        }
    }

    func read<Result>(_ body: (Database) throws -> Result) throws(RayStoreError) -> Result {
        do {
            return try queue.read(body)
        } catch {
            throw Self.failure(error, place: place)
        }
    }

    private static func failure(_ error: any Error, place: String) -> RayStoreError {
        if let error = error as? RayStoreError { return error }
        guard let error = error as? DatabaseError else {
            return RayStoreError(.system, "the control store \(place) failed: \(error)")
        }
        let text = error.message ?? "no reason given"
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return RayStoreError(.inUse, "the control store \(place) is open in another head; stop that one first")
        case .SQLITE_FULL:
            return RayStoreError(.outOfDisk, "the disk of the control store \(place) is full; make room")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return RayStoreError(
                .corrupt, "the control store \(place) is damaged (\(text)); move it away to begin with an empty one")
        case .SQLITE_MISUSE:
            return RayStoreError(.closed, "the control store \(place) is closed")
        default:
            return RayStoreError(
                .system, "the control store \(place) failed: \(text) (SQLite \(error.extendedResultCode.rawValue))")
        }
    }
}

// MARK: - Nodes

extension ControlDatabase {
    /// The cluster's name, made when it is first asked for.
    func session() throws(RayStoreError) -> String {
        try write { database in
            if let known = try String.fetchOne(database, sql: "SELECT session FROM cluster") { return known }
            let made = "session_" + NodeID.random().description.prefix(16)
            try database.execute(sql: "INSERT INTO cluster (session) VALUES (?)", arguments: [made])
            return made
        }
    }

    /// Writes the node down as living and gives it its number: the one it had, when it was here before.
    func join(_ node: NodeDescription, isOwn: Bool) throws(RayStoreError) -> NodeDescription {
        try write { database in
            let known = try Int64.fetchOne(
                database, sql: "SELECT number FROM node WHERE id = ?", arguments: [node.id.description])
            if known == nil {
                try database.execute(
                    sql: "INSERT INTO node (id, description, isLiving, isOwn) VALUES (?, '', 1, ?)",
                    arguments: [node.id.description, isOwn])
            }
            try database.execute(sql: "DELETE FROM missing WHERE id = ?", arguments: [node.id.description])
            var joined = node
            joined.number = try Self.number(known ?? database.lastInsertedRowID, of: "nodes")
            try database.execute(
                sql: "UPDATE node SET description = ?, isLiving = 1, isOwn = ? WHERE number = ?",
                arguments: [try Self.text(joined), isOwn, Int64(joined.number)])
            return joined
        }
    }

    /// Writes the node down as gone, ends its running jobs, and says which these were.
    ///
    /// - Parameter isMissing: it did not say that it leaves, and may live.
    func giveUp(_ node: NodeID, isMissing: Bool) throws(RayStoreError) -> [JobID] {
        try write { database in
            try database.execute(
                sql: isMissing ? "INSERT OR IGNORE INTO missing (id) VALUES (?)" : "DELETE FROM missing WHERE id = ?",
                arguments: [node.description])
            try database.execute(sql: "UPDATE node SET isLiving = 0 WHERE id = ?", arguments: [node.description])
            let jobs = try Int64.fetchAll(
                database, sql: "SELECT number FROM job WHERE driverNode = ? AND isRunning ORDER BY number",
                arguments: [node.description])
            try database.execute(
                sql: "UPDATE job SET isRunning = 0 WHERE driverNode = ? AND isRunning", arguments: [node.description])
            return jobs.map { JobID(rawValue: UInt32(truncatingIfNeeded: $0)) }
        }
    }

    /// The nodes that lived when the store was last open, and whether each was the store's own.
    func lastLiving() throws(RayStoreError) -> [(node: NodeDescription, isOwn: Bool)] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT description, isOwn FROM node WHERE isLiving ORDER BY number").map { row in
                let text: String = row["description"]
                return (try JSONDecoder().decode(NodeDescription.self, from: Data(text.utf8)), row["isOwn"])
            }
        }
    }

    /// The nodes that were given up without their word and have not come back.
    func missingNodes() throws(RayStoreError) -> [NodeID] {
        try read { try String.fetchAll($0, sql: "SELECT id FROM missing").compactMap { NodeID($0) } }
    }

    func forgetMissing(_ node: NodeID) throws(RayStoreError) {
        try write { try $0.execute(sql: "DELETE FROM missing WHERE id = ?", arguments: [node.description]) }
    }

    private static func text(_ node: NodeDescription) throws -> String {
        String(decoding: try JSONEncoder().encode(node), as: UTF8.self)
    }

    /// Numbers are 32 bits wide in ids.
    private static func number(_ row: Int64, of what: String) throws -> UInt32 {
        guard let number = UInt32(exactly: row), number < UInt32.max else {
            throw RayStoreError(.tooLarge, "the cluster has given all its numbers of \(what); begin with an empty control store")
        }
        return number
    }
}

// MARK: - Jobs

extension ControlDatabase {
    func beginJob(driverNode: NodeID, namespace: String?) throws(RayStoreError) -> JobRecord {
        try write { database in
            try database.execute(
                sql: "INSERT INTO job (driverNode, namespace, isRunning) VALUES (?, ?, 1)",
                arguments: [driverNode.description, namespace ?? ""])
            let job = JobID(rawValue: try Self.number(database.lastInsertedRowID, of: "jobs"))
            let chosen = namespace ?? NameRules.privateNamespace(of: job)
            try database.execute(sql: "UPDATE job SET namespace = ? WHERE number = ?", arguments: [chosen, Int64(job.rawValue)])
            return JobRecord(job: job, driverNode: driverNode, namespace: chosen, isRunning: true)
        }
    }

    /// Whether the job was running until now; nil when there never was one.
    func endJob(_ job: JobID) throws(RayStoreError) -> Bool? {
        try write { database in
            let number = Int64(job.rawValue)
            let wasRunning = try Bool.fetchOne(database, sql: "SELECT isRunning FROM job WHERE number = ?", arguments: [number])
            try database.execute(sql: "UPDATE job SET isRunning = 0 WHERE number = ?", arguments: [number])
            return wasRunning
        }
    }

    func job(_ job: JobID) throws(RayStoreError) -> JobRecord? {
        try read { database in
            let row = try Row.fetchOne(database, sql: "SELECT * FROM job WHERE number = ?", arguments: [Int64(job.rawValue)])
            guard let row, let driver = NodeID(row["driverNode"] as String) else { return nil }
            return JobRecord(job: job, driverNode: driver, namespace: row["namespace"], isRunning: row["isRunning"])
        }
    }
}

// MARK: - Names

extension ControlDatabase {
    func bind(_ name: String, in namespace: String, to object: ObjectID) throws(RayStoreError) {
        try write { database in
            if let bound = try Self.bound(name, in: namespace, database) {
                if bound == object.description { return }
                throw RayStoreError(
                    .nameInUse,
                    "the name '\(name)' in the namespace '\(namespace)' is in use for object \(bound); choose another or remove that one",
                    object: object)
            }
            try database.execute(
                sql: "INSERT INTO name (namespace, name, object) VALUES (?, ?, ?)",
                arguments: [namespace, name, object.description])
        }
    }

    func find(_ name: String, in namespace: String) throws(RayStoreError) -> ObjectID {
        try read { try Self.object(name, in: namespace, $0) }
    }

    func unbind(_ name: String, in namespace: String) throws(RayStoreError) -> ObjectID {
        try write { database in
            let object = try Self.object(name, in: namespace, database)
            try database.execute(sql: "DELETE FROM name WHERE namespace = ? AND name = ?", arguments: [namespace, name])
            return object
        }
    }

    func unbindAll(of object: ObjectID) throws(RayStoreError) {
        try write { try $0.execute(sql: "DELETE FROM name WHERE object = ?", arguments: [object.description]) }
    }

    func names(in namespace: String?) throws(RayStoreError) -> [NameRecord] {
        try read { database in
            let rows = try Row.fetchAll(
                database,
                sql: "SELECT namespace, name, object FROM name WHERE ?1 IS NULL OR namespace = ?1 ORDER BY namespace, name",
                arguments: [namespace])
            return try rows.map { row in
                NameRecord(name: row["name"], namespace: row["namespace"], object: try ObjectID(row["object"] as String))
            }
        }
    }

    private static func bound(_ name: String, in namespace: String, _ database: Database) throws -> String? {
        try String.fetchOne(
            database, sql: "SELECT object FROM name WHERE namespace = ? AND name = ?", arguments: [namespace, name])
    }

    private static func object(_ name: String, in namespace: String, _ database: Database) throws -> ObjectID {
        guard let text = try bound(name, in: namespace, database) else {
            throw RayStoreError(.nameUnknown, "no object has the name '\(name)' in the namespace '\(namespace)'")
        }
        return try ObjectID(text)
    }
}
