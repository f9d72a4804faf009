// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import RayStore
import TestSupport
import Testing

@testable import RayStoreNode

/// The list of spilled files when several services have files of the same URL: an S3 endpoint and the one that came in its place.
@Suite struct SpillManifestTests {
    private static let url = "s3://bucket/p/node-1/aa-multi-1"
    private static let here = "smart_open http://here"
    private static let there = "smart_open http://there"

    private func withList(_ body: (_ path: String) throws -> Void) throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try body(scratch.path + "/spill.sqlite")
    }

    private func file(_ storage: String, bytes: Int64, url: String = SpillManifestTests.url) -> SpillManifest.File {
        SpillManifest.File(url: url, storage: storage, bytes: bytes, count: 1, session: "s", isEnding: false)
    }

    /// Of one of several objects, in the file of that URL.
    private func record(_ number: Int, _ storage: String) -> SpillManifest.Record {
        let objects = SpilledObjects(sizes: [10])
        return SpillManifest.Record(
            objectID(seed: 1, number: number), objects.layout.record(0, in: Self.url, path: nil), in: storage, owner: "o")
    }

    @Test func filesOfOneURLAtTwoServicesAreTwoFiles() throws {
        try withList { path in
            let list = try SpillManifest(path: path)
            try list.add(file(Self.there, bytes: 1), [record(1, Self.there)], without: [])
            try list.add(file(Self.here, bytes: 2), [record(2, Self.here)], without: [])
            #expect(try Set(list.files().map(\.bytes)) == [1, 2])
            // Entered once more, it takes the place of its own only.
            try list.add(file(Self.here, bytes: 3))
            #expect(try Set(list.files().map(\.bytes)) == [1, 3])
            try list.noteEnding(Self.url, of: Self.here)
            #expect(try list.files().filter(\.isEnding).map(\.storage) == [Self.here])
            #expect(try list.records().map(\.storage) == [Self.there])
            try list.removeFile(Self.url, of: Self.here)
            #expect(try list.files().map(\.storage) == [Self.there])
            let left = try list.left(besides: Self.place(Self.here))
            #expect(left.map(\.service) == [Self.there] && left.first?.bytes == 1)
            // Records go with their file.
            try list.removeFile(Self.url, of: Self.there)
            #expect(try list.files().isEmpty && list.records().isEmpty)
            list.close()
        }
    }

    /// A list of the node's earlier version, which had the type for the service: it goes on, and today's storage removes what is its.
    @Test func anOlderListIsCarriedOver() throws {
        try withList { path in
            try Self.makeOlderList(at: path)
            let list = try SpillManifest(path: path)
            #expect(try list.records().isEmpty)
            #expect(try Set(list.files().map(\.storage)) == ["smart_open", "filesystem"])
            let place = Self.place(Self.here)
            try list.adopt("smart_open", by: place)
            let files = try list.files()
            #expect(files.count == 4)
            #expect(files.filter { place.has($0.url, of: $0.storage) }.map(\.url) == [Self.url])
            // The one in another bucket may be anybody's: it stays reported.
            let left = try list.left(besides: place)
            #expect(left.map(\.service) == ["filesystem", "smart_open"] && left.map(\.fileCount) == [2, 1])
            #expect(left.last?.folder == "s3://elsewhere/")
            list.close()
            let again = try SpillManifest(path: path)
            #expect(try again.files().count == 4)
            again.close()
        }
    }

    private static func place(_ service: String) -> StoragePlace { StoragePlace(At(service: service)) }

    /// As version 2 made it.
    private static func makeOlderList(at path: String) throws {
        let database = try StateDatabase("an older list", at: path) { migrator in
            migrator.registerMigration("1") { database in
                try database.execute(
                    sql: """
                        CREATE TABLE "file" ("url" TEXT PRIMARY KEY NOT NULL, "storage" TEXT NOT NULL, "bytes" INTEGER NOT NULL,
                            "count" INTEGER NOT NULL, "session" TEXT NOT NULL, "isEnding" BOOLEAN NOT NULL);
                        CREATE TABLE "record" ("object" TEXT PRIMARY KEY NOT NULL,
                            "url" TEXT NOT NULL REFERENCES "file"("url") ON DELETE CASCADE, "offset" INTEGER NOT NULL,
                            "size" INTEGER NOT NULL, "dataSize" INTEGER NOT NULL, "dataChecksum" INTEGER NOT NULL,
                            "metadataChecksum" INTEGER NOT NULL, "owner" TEXT NOT NULL);
                        CREATE INDEX "record_on_url" ON "record"("url");
                        """)
            }
            migrator.registerMigration("2") { database in
                try database.execute(
                    sql: """
                        CREATE TABLE "place" ("service" TEXT NOT NULL, "folder" TEXT NOT NULL, PRIMARY KEY ("service", "folder"))
                        """)
            }
        }
        try database.write { database in
            let rows = [
                (url, "smart_open"), ("s3://elsewhere/bb-multi-1", "smart_open"), ("/disk/cc-multi-1", "slow_fs"),
                ("/disk/dd-multi-1", "filesystem"),
            ]
            for (url, storage) in rows {
                try database.execute(sql: "INSERT INTO file VALUES (?, ?, 5, 1, 's', 0)", arguments: [url, storage])
                try database.execute(
                    sql: "INSERT INTO record VALUES (?, ?, 0, 5, 5, 0, 0, 'o')", arguments: ["object of " + url, url])
            }
        }
        database.close()
    }
}

/// Only where it is matters.
private struct At: ExternalStorage {
    let service: String

    var typeName: String { "smart_open" }
    var folders: [String] { ["s3://bucket/p/node-1/"] }
    var canSpill: Bool { true }

    func validate() async throws(RayStoreError) {}
    func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile { throw Self.unused }
    func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) { throw Self.unused }
    func delete(_ file: String) async throws(RayStoreError) { throw Self.unused }
    func files() async throws(RayStoreError) -> [String] { throw Self.unused }
    func destroy() async throws(RayStoreError) {}

    private static let unused = RayStoreError(.unsupported, "the test asks for none of this")
}
