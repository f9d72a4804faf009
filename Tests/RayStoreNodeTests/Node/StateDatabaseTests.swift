// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// The log of a list: what is noted goes into it, and it is carried over only when it is long.
@Suite struct StateDatabaseTests {
    /// Bytes of the log after so many rows of 8 KiB, each noted by itself, and how many rows a reader finds.
    private func note(_ rows: Int, logPages: Int? = nil) throws -> (logBytes: Int, found: Int?) {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let path = scratch.path + "/list.sqlite"
        func migrations(_ migrator: inout DatabaseMigrator) {
            migrator.registerMigration("1") { try $0.execute(sql: "CREATE TABLE row (data BLOB)") }
        }
        let list =
            if let logPages {
                try StateDatabase("a list", at: path, logPages: logPages, migrations)
            } else {
                try StateDatabase("a list", at: path, migrations)
            }
        defer { list.close() }
        for _ in 0..<rows {
            try list.write { try $0.execute(sql: "INSERT INTO row VALUES (zeroblob(8192))") }
        }
        let attributes = try FileManager.default.attributesOfItem(atPath: path + "-wal")
        let found = try list.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM row") }
        return (try #require(attributes[.size] as? Int), found)
    }

    /// 4 MB are as much as is noted of some 4 GB of spilled objects of 1 MB each: whoever spills them has not waited for the disk yet.
    @Test func whoNotesDoesNotWaitForTheDisk() throws {
        let (logBytes, found) = try note(1000)
        #expect(logBytes > 8 << 20)
        #expect(found == 1000)
    }

    @Test func aLogIsCarriedOverBeforeItIsTooLong() throws {
        let (logBytes, found) = try note(1000, logPages: 100)
        #expect(logBytes < 1 << 20)
        #expect(found == 1000)
    }
}
