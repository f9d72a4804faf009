// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Testing

@testable import raystore

/// What `raystore memory` says, of nodes that run and of reports that were made up.
@Suite struct MemoryTests {
    private func line(_ text: String, with part: String) throws -> String {
        try #require(text.split(separator: "\n").map(String.init).first { $0.contains(part) }, "\(text)")
    }

    @Test func usedAndFreeAreWrittenOutAndAddUp() async throws {
        try await TestCluster.with(1, memory: "32MiB") { cluster in
            try cluster.makeFile("f", Data(count: 100_000))
            #expect(try await cluster.run("put", "f").status == 0)
            let memory = try await cluster.run("memory")
            let sum = try #require(
                try line(memory.text, with: " used + ").wholeMatch(of: #/  ([0-9]+) used \+ ([0-9]+) free = ([0-9]+) bytes/#))
            #expect(Int(sum.1)! + Int(sum.2)! == Int(sum.3)!)
            #expect(Int(sum.3)! == 32 << 20)
            #expect(Int(sum.1)! > 0)
            #expect(try line(memory.text, with: " free in ").contains("0% of it unusable for an object of 1 MiB"))
        }
    }

    @Test func objectsHaveTheirMakerAndAge() async throws {
        try await TestCluster.with(1) { cluster in
            try cluster.makeFile("f", Data(count: 10))
            let ref = try await cluster.run("put", "f").line
            let text = try await cluster.run("memory").text
            let row = try line(text, with: ref).split(separator: " ", omittingEmptySubsequences: true)
            // A file's descriptor is made by the node.
            #expect(row.contains(Substring(String(cluster.members[0].process.pid))), "\(text)")
            #expect(try line(text, with: "CREATOR").contains("AGE"))
            let list = try await cluster.run("list").text
            #expect(try line(list, with: "REF").contains("AGE"))
            #expect(try line(list, with: ref).contains(" s "), "\(list)")
        }
    }

    @Test func clientsAndCreatorsHaveALineEach() async throws {
        try await TestCluster.with(1) { cluster in
            let session = try await Session.connect(socket: cluster.members[0].socket)
            let ref = try session.put(bytes: [UInt8](repeating: 1, count: 3 << 20))
            let clients = try await cluster.run("memory", "--group-by", "client").text
            let mine = try line(clients, with: " client ").split(separator: " ", omittingEmptySubsequences: true)
            #expect(mine.first == Substring(String(getpid())), "\(clients)")
            #expect(try line(clients, with: " client ").contains("3 MiB"), "\(clients)")
            #expect(try line(clients, with: " node ").contains(String(cluster.members[0].process.pid)))
            #expect(!clients.contains(ref.id.description))
            let creators = try await cluster.run("memory", "--group-by", "creator").text
            #expect(try line(creators, with: " \(getpid()) ").contains("3 MiB"), "\(creators)")
            let document = try await cluster.run("memory", "--group-by", "client", "--json").json()
            #expect((document["objects"] as? [Any])?.isEmpty == false)
            let rows = try #require(document["clients"] as? [[String: Any]])
            #expect(rows.contains { $0["process"] as? Int == Int(getpid()) && $0["createdBytes"] as? Int ?? 0 >= 3 << 20 })
            await session.close()
        }
    }

    @Test func anUnknownGroupIsRefused() async throws {
        try await Tool.run(["memory", "--group-by", "colour"]).expectOneLine("colour", status: 64)
    }

    // ---- reports that were made up -------------------------------------------------------------------------------------

    private func node(used: UInt64, free: UInt64, capacity: UInt64, unusable: UInt64) throws -> NodeReport {
        let text = """
            {"node": {"id": "\(String(repeating: "ab", count: 28))", "number": 1, "host": "h", "controlPort": 1, "bulkPort": 2,
            "libraryVersion": "0"}, "capacityBytes": \(capacity), "usedBytes": \(used), "freeBytes": \(free),
            "largestFreeBytes": 1, "freeBlockCount": 1, "unusableForMebibyteBytes": \(unusable), "pinnedBytes": 0,
            "reservedBytes": 0, "objectCount": 0, "clientCount": 0, "fileCount": 0, "fileBytes": 0, "sentBytes": 0,
            "sentWireBytes": 0, "receivedBytes": 0, "receivedWireBytes": 0, "refusedConnections": 0, "corruptChunks": 0,
            "retriedChunks": 0, "storage": "none", "canSpill": false}
            """
        return try JSONDecoder().decode(NodeReport.self, from: Data(text.utf8))
    }

    @Test func sumsThatDoNotAddUpAreNotCalledEqual() throws {
        let right = MemoryText.summary(of: try node(used: 3, free: 5, capacity: 8, unusable: 2))
        #expect(right[1] == "  3 used + 5 free = 8 bytes")
        #expect(right[2] == "  5 bytes free in 1 block, the largest 1 byte; 40% of it unusable for an object of 1 MiB")
        let wrong = MemoryText.summary(of: try node(used: 3, free: 4, capacity: 8, unusable: 0))
        #expect(wrong[1] == "  3 used + 4 free is not 8 bytes")
    }

    @Test func spillingIsToldWithBytesAndRates() throws {
        var about = try node(used: 3, free: 5, capacity: 8, unusable: 2)
        #expect(SpillText.summary(of: about) == "no spilling")
        #expect(SpillText.history(of: about).isEmpty)
        about.canSpill = true
        about.storage = "filesystem"
        var spill = SpillCounters(storage: "filesystem")
        about.spill = spill
        #expect(SpillText.summary(of: about) == "spills to filesystem")
        #expect(SpillText.history(of: about).isEmpty)
        spill.spilledObjects = 3
        spill.spilledBytes = 6 << 30
        spill.spillSeconds = 2
        spill.restoredObjects = 1
        spill.restoredBytes = 1 << 20
        spill.restoreSeconds = 0.5
        spill.damagedRecords = 2
        spill.recordCount = 2
        spill.recordBytes = 4 << 30
        spill.fileCount = 1
        spill.fileBytes = 6 << 30
        about.spill = spill
        #expect(SpillText.summary(of: about) == "spills to filesystem: 2 objects with 4 GiB in 1 file of 6 GiB")
        #expect(
            SpillText.history(of: about) == [
                "spilled 3 objects, 6 GiB at 3 GiB/s", "restored 1 object, 1 MiB at 2 MiB/s",
                "2 records were altered, cut or gone when they were needed",
            ])
    }

    private func object(_ number: Int, by creator: Int?, bytes: Int, age: Double, state: String = "sealed", pins: Int = 0) throws
        -> ObjectReport
    {
        let id = String(repeating: "00", count: 27) + "0\(number)"
        let text = """
            {"object": "\(id)", "node": "n", "kind": "object", "state": "\(state)", "ageSeconds": \(age), "memoryBytes": \(bytes),
            "size": \(bytes), "job": 1, "isOwner": true, "isDetached": false, "referringClients": \(number % 2),
            "spilledBytes": 0, "pinningClients": \(pins), "borrowers": 0, "holders": 0, "shares": 0
            \(creator.map { ", \"creatorProcess\": \($0)" } ?? "")}
            """
        return try JSONDecoder().decode(ObjectReport.self, from: Data(text.utf8))
    }

    @Test func creatorsAreSummedWithMostBytesFirst() throws {
        let rows = MemoryText.table(ofCreatorsOf: [
            try object(1, by: 7, bytes: 1024, age: 1), try object(2, by: 9, bytes: 4096, age: 2),
            try object(3, by: 7, bytes: 1024, age: 400, pins: 1), try object(4, by: nil, bytes: 64, age: 0),
            try object(5, by: 7, bytes: 0, age: 9000, state: "remote"),
        ]).rows
        #expect(
            rows == [
                ["9", "1", "4 KiB", "0 bytes", "1", "2.0 s"], ["7", "2", "2 KiB", "1 KiB", "0", "6 min 40 s"],
                ["-", "1", "64 bytes", "0 bytes", "1", "0.0 s"],
            ])
    }

    @Test(arguments: [
        (0.0, "0.0 s"), (0.3, "0.3 s"), (9.9, "9.9 s"), (45.2, "45 s"), (86_399, "23 h 59 min"), (86_400, "1 d 0 h"),
        (356_400, "4 d 3 h"), (-1, "0.0 s"),
    ])
    func agesAreShort(seconds: Double, text: String) {
        #expect(Amounts.age(seconds) == text)
    }

    @Test(arguments: [(0, 0, "0%"), (0, 10, "0%"), (1, 1000, "<1%"), (999, 1000, "99%"), (1000, 1000, "100%")])
    func sharesNeverRoundUpToAllOrDownToNone(part: UInt64, whole: UInt64, text: String) {
        #expect(Amounts.share(part, of: whole) == text)
    }
}
