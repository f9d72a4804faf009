// SPDX-License-Identifier: Apache-2.0
internal import GRDB
internal import RayStore

/// A list in the state directory that tells a node's next life what this one left behind.
///
/// A write is in the kernel's hands when it returns, which outlives the node; a machine that goes down may lose the latest ones, and with
/// them goes all that they were about. For what must outlive that there is `ControlDatabase`.
struct StateDatabase: Sendable {
    private let queue: DatabaseQueue
    private let name: String

    /// - Parameters:
    ///   - name: what it is, in errors.
    ///   - logPages: pages of 4 KiB in the log beyond which a write carries it over into the list. That waits for the disk, which may have
    ///     gigabytes of objects to write first, and whoever notes something waits with it: with SQLite's own 1,000, once in 4 GB of spilled
    ///     objects of 1 MB.
    init(
        _ name: String, at path: String, logPages: Int = 16384, _ migrations: (inout DatabaseMigrator) -> Void
    ) throws(RayStoreError) {
        self.name = name
        do {
            var configuration = Configuration()
            configuration.prepareDatabase { database in
                try database.execute(
                    sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = \(logPages)")
            }
            queue = try DatabaseQueue(path: path, configuration: configuration)
            var migrator = DatabaseMigrator()
            migrations(&migrator)
            try migrator.migrate(queue)
        } catch {
            throw RayStoreError(.system, "\(name) \(path) cannot be opened: \(error)")
        }
    }

    /// Lets go of the file, so that the directory's next node finds it unlocked; nothing can be noted any more.
    func close() {
        try? queue.close()
    }

    func read<Value>(_ body: (Database) throws -> Value) throws(RayStoreError) -> Value {
        do {
            return try queue.read(body)
        } catch {
            throw RayStoreError(.system, "\(name) cannot be read: \(error)")
        }
    }

    /// Runs a transaction.
    func write(_ body: (Database) throws -> Void) throws(RayStoreError) {
        do {
            try queue.write(body)
        } catch {
            throw RayStoreError(.system, "\(name) cannot be written: \(error)")
        }
    }
}
