// SPDX-License-Identifier: Apache-2.0
import CTestSupport
import Foundation
import RayStore
import RayStoreNode
import Synchronization
import TestSupport
import Testing

/// What an S3 service, or somebody between it and the node, does wrong: Tests/S3/moody.py, whose buckets each have a fault.
@Suite struct S3FaultTests {
    private func withServer(_ body: (TestProcess, S3Service) async throws -> Void) async throws {
        try await withMoodyServer(body)
    }

    private func storage(_ bucket: String, _ service: S3Service, patience: Duration? = nil) throws -> S3Storage {
        try S3Storage(
            locations: [S3Location("s3://\(bucket)")], prefix: "p", owner: "o", service: service, patience: patience)
    }

    private func writeAndRead(_ storage: S3Storage, size: Int = 70_000) async throws {
        let objects = SpilledObjects(sizes: [100, size], for: storage)
        let file = try await storage.spill(objects.layout.batch)
        #expect(objects.areSummed)
        for index in 0..<2 {
            let read = try await restored(objects.layout.location(index, in: file.url), from: storage)
            #expect(read == objects.record(index))
        }
        try await storage.delete(file.url)
        let gone = await failure { _ = try await restored(objects.layout.location(0, in: file.url), from: storage) }
        #expect(gone?.code == .fileNotFound, "\(gone?.message ?? "")")
    }

    @Test(arguments: ["good", "fail-500", "fail-503", "fail-429", "close"])
    func aRequestThatFailsTwiceIsMadeAgain(_ bucket: String) async throws {
        try await withServer { _, service in try await writeAndRead(storage(bucket, service)) }
    }

    /// Each attempt begins anew, with bytes that are summed up already.
    @Test func aFileThatIsCutOffOnItsWayIsSummedUpOnce() async throws {
        try await withServer { server, service in
            try await writeAndRead(storage("cut-body", service), size: 9 << 20)
            for _ in 0..<2 { #expect(await server.nextLine() == "CUT") }
        }
    }

    /// What is left of the body must not be taken for the next request.
    @Test func aServiceThatAnswersBeforeItReadsIsAskedOverAnotherConnection() async throws {
        try await withServer { _, service in try await writeAndRead(storage("early", service), size: 9 << 20) }
    }

    @Test func aServiceThatReadsNoMoreIsAskedAgain() async throws {
        try await withServer { server, service in
            try await writeAndRead(storage("stall", service, patience: .seconds(2)), size: 9 << 20)
            #expect(await server.nextLine() == "STALLED")
        }
    }

    @Test(.enabled(if: test_sockets_begin_paced() != 0, "connections of this machine do not begin with BBR"))
    func whoIsNearIsNotSentToByTheClock() async throws {
        try await withServer { _, service in
            let storage = try storage("good", service)
            let objects = SpilledObjects(sizes: [70_000])
            let file = try await storage.spill(objects.layout.batch)
            let port = try #require(UInt16(service.endpoint.split(separator: ":").last ?? ""))
            var count: Int32 = 0
            var paced: Int32 = 0
            test_sockets_to(port, &count, &paced)
            #expect(count > 0, "no connection is kept for the next request")
            #expect(paced == 0)
            try await storage.delete(file.url)
        }
    }

    @Test func aRefusedConnectionIsTriedAgainAndThenSaid() async throws {
        try await withServer { server, service in
            server.end()
            let objects = SpilledObjects(sizes: [100])
            let storage = try storage("good", service)
            let begin = ContinuousClock.now
            let error = await failure { _ = try await storage.spill(objects.layout.batch) }
            #expect(error?.code == .unreachable)
            #expect(error?.message.contains(service.endpoint) == true)
            // Five attempts, with pauses of 0.1 s and then twice the last one's between them.
            #expect(ContinuousClock.now - begin >= .milliseconds(1500))
        }
    }

    /// A page of somebody in between says nothing of the object: not at its begin, and not where a cut read goes on.
    @Test(arguments: ["page", "cut-page"]) func anAnswerOfSomebodyElseIsNotBelieved(_ bucket: String) async throws {
        try await withServer { _, service in
            let storage = try storage(bucket, service)
            let objects = SpilledObjects(sizes: [3 << 20])
            let file = try await storage.spill(objects.layout.batch)
            #expect(try await restored(objects.layout.location(0, in: file.url), from: storage) == objects.record(0))
        }
    }

    private func read(_ storage: S3Storage, bytes: Int, _ server: TestProcess, requests: Int) async throws -> [[Int]] {
        let objects = SpilledObjects(sizes: [bytes])
        let file = try await storage.spill(objects.layout.batch)
        #expect(try await restored(objects.layout.location(0, in: file.url), from: storage) == objects.record(0))
        var lines: [[Int]] = []
        while lines.count < requests {
            let line = try #require(await server.nextLine())
            lines.append(line.split(separator: " ").compactMap { Int($0) })
        }
        return lines
    }

    /// Each of the connections brings less in a quarter of a second than is to be read.
    @Test func aServiceFarAwayIsReadInPiecesOverSeveralConnections() async throws {
        try await withServer { server, service in
            let piece = 16 << 20
            let reads = try await read(storage("thin", service), bytes: 3 * piece - 1000, server, requests: 3)
            // Until it is known the service is asked for one piece alone.
            #expect(reads[0] == [0, piece - 1, 0])
            #expect(Set(reads.map { $0[0] }) == [0, piece, 2 * piece])
            #expect(reads.allSatisfy { $0[1] - $0[0] < piece })
            #expect(reads[1][2] == 1 && reads[2][2] == 0)
        }
    }

    /// In the second and a half before it answers the connection could have brought more than a piece: the rest is asked for at once.
    @Test func aServiceThatIsLongInAnsweringIsAskedForTheRestAtOnce() async throws {
        try await withServer { server, service in
            let piece = 16 << 20
            let reads = try await read(storage("late", service), bytes: 3 * piece - 1000, server, requests: 2)
            #expect(reads[0] == [0, piece - 1])
            #expect(reads[1][0] == piece && reads[1][1] > 2 * piece)
        }
    }

    @Test func aListIsReadToItsEnd() async throws {
        try await withServer { _, service in
            let files = try await storage("many", service).files()
            #expect(files.count == 2500 && Set(files).count == 2500)
            #expect(files.allSatisfy { $0.hasPrefix("s3://many/p/o/") })
        }
    }

    /// It would be read for ever, or taken to be at its end.
    @Test(arguments: ["circle", "nowhere"]) func aListThatDoesNotGoOnIsAFailure(_ bucket: String) async throws {
        try await withServer { server, service in
            let storage = try storage(bucket, service)
            let listing = await failure { _ = try await storage.files() }
            #expect(listing?.code == .protocolError)
            #expect(listing?.message.contains("s3://\(bucket)/p/o/") == true, "\(listing?.message ?? "")")
            let aborting = await failure { try await storage.removeUnfinished() }
            #expect(aborting?.code == .protocolError, "\(aborting?.message ?? "")")
            // What was listed until then is ended.
            let count = bucket == "circle" ? 3 : 1
            for number in 1...count { #expect(await server.nextLine() == "ABORTED p/o/key \(number)") }
        }
    }

    @Test func anAnswerWithoutEndIsNotTakenForDamage() async throws {
        try await withServer { _, service in
            let error = await failure { _ = try await storage("huge", service).files() }
            #expect(error?.code == .system && error?.message.contains("longer") == true, "\(error?.message ?? "")")
        }
    }

    @Test func aSessionTokenIsSentAndSigned() async throws {
        try await withServer { _, service in
            var service = service
            service.credentials.sessionToken = "to/ken+="
            let storage = try storage("token", service)
            try await storage.validate()
            try await writeAndRead(storage)
            service.credentials.sessionToken = "another"
            let refused = try self.storage("token", service)
            let error = await failure { try await refused.validate() }
            #expect(error?.message.contains("InvalidToken") == true)
        }
    }

    @Test(arguments: ["", "/", "/below/here", "/below/here/"]) func anEndpointMayHaveAPath(_ path: String) async throws {
        try await withServer { _, service in
            var service = service
            service.endpoint += path
            try await writeAndRead(storage("good", service))
        }
    }

    @Test(arguments: ["", "/", "?x", "/below?x", "/with space"]) func whatIsNoEndpointIsRefused(_ rest: String) throws {
        let service = S3Service(
            endpoint: rest.count < 2 ? "http://" + rest : "http://127.0.0.1:1" + rest, region: "r",
            credentials: S3Service.Credentials(accessKey: "a", secretKey: "b"))
        #expect(throws: RayStoreError.self) { _ = try storage("good", service) }
    }

    @Test func aNodeThatStartsEndsTheUploadsOfItsEarlierLife() async throws {
        try await withServer { server, service in
            let cluster = try await LocalCluster()
            _ = try await cluster.addNode(storage: try storage("leak", service))
            // Both, though an answer lists only one of them, and of this node's folder.
            #expect(await server.nextLine() == "ABORTED p/o/one one")
            #expect(await server.nextLine() == "ABORTED p/o/two two")
            await cluster.stop()
        }
    }

    /// An upload, a read and a deletion are under way when the service falls silent. One request for each would have 20 s, five times.
    @Test func aStopDoesNotWaitForAServiceThatIsSilent() async throws {
        try await withServer { server, service in
            let cluster = try await LocalCluster()
            let node = try await cluster.addNode(
                capacity: 32 << 20, storage: try storage("hush", service), configure: { $0.spill.fileObjects = 1 })
            let session = try await Session.connect(socket: node.socketPath)
            let wanted = try session.put(bytes: pattern(1 << 20, seed: 1))
            let ended = try session.put(bytes: pattern(1 << 20, seed: 2))
            try await spillAll(of: node) { try !session.contains(wanted) && !session.contains(ended) }
            try server.tell("hush")
            #expect(await server.nextLine() == "HUSHED")
            let written = try session.put(bytes: pattern(1 << 20, seed: 3))
            let writing = Task { await node.freeMemory(32 << 20) }
            let reading = Task { await failure { _ = try await session.get(wanted) } }
            try await session.free(ended)
            var silent: Set<String> = []
            for _ in 0..<3 { silent.insert(await server.nextLine() ?? "") }
            #expect(silent == ["SILENT PUT", "SILENT GET", "SILENT DELETE"])
            let isStopped = Mutex(false)
            let stopping = Task {
                await node.stop()
                isStopped.withLock { $0 = true }
            }
            #expect(await eventually(within: .seconds(15)) { isStopped.withLock { $0 } })
            await stopping.value
            #expect(await writing.value == 0)
            #expect(await reading.value != nil)
            _ = written
            await session.close()
            await cluster.stop()
        }
    }

    @Test func anUploadThatStaysListedKeepsNobody() async throws {
        try await withServer { server, service in
            try await storage("stay", service).removeUnfinished()
            #expect(await server.nextLine() == "ABORTED p/o/stays stays")
        }
    }
}
