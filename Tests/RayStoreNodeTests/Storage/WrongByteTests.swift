// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Payloads are not signed, so a byte of what lies in S3 may become another one on its way: Tests/S3/moody.py, where the buckets `flip` and `rot`
/// change the last byte of what is asked for, the first time or every time.
@Suite struct WrongByteTests {
    /// How an object is had that is not in memory.
    enum Way: CaseIterable { case whole, part, elsewhere, partElsewhere }

    private static let block = 4 << 20
    private static let size = 5 * block + 777

    private struct Scene {
        let server: TestProcess
        let node: Node
        let owner: Session
        let reader: Session
        let ref: ObjectRef<Bytes>
        let bytes: [UInt8]

        /// Whether what comes that way is what was put.
        func isRight(_ way: Way, blockNumber: Int = 1) async throws -> Bool {
            let begin = blockNumber * WrongByteTests.block + 5
            let range = begin..<begin + 70_000
            let part = Array(bytes[range])
            switch way {
            case .whole: return equal(try await owner.get(ref), bytes)
            case .part: return equal(try await owner.read(ref, range), part)
            case .elsewhere: return equal(try await reader.get(reader.open(ref.shared())), bytes)
            case .partElsewhere: return equal(try await reader.read(reader.open(ref.shared()), range), part)
            }
        }

        var counters: SpillCounters {
            get async throws { try #require(await node.spillCounters()) }
        }
    }

    private func withSpilled(_ bucket: String, isPacked: Bool, _ body: (Scene) async throws -> Void) async throws {
        try await withMoodyServer { server, service in
            let storage = try S3Storage(locations: [S3Location("s3://\(bucket)")], prefix: "p", owner: "o", service: service)
            try await withSpillingAndReader(capacity: 64 << 20, storage: { _ in storage }) { node, owner, reader, _ in
                let bytes = isPacked ? packable(Self.size, seed: 5) : pattern(Self.size, seed: 5)
                let ref = try owner.put(bytes: bytes)
                #expect(await node.freeMemory(64 << 20) > 0)
                #expect(try !owner.contains(ref))
                try await body(Scene(server: server, node: node, owner: owner, reader: reader, ref: ref, bytes: bytes))
            }
        }
    }

    /// Each block that is asked for is wrong at first, and several are asked for at a time.
    @Test(arguments: Way.allCases, [false, true]) func whatIsWrongOnceIsReadOnceMore(_ way: Way, isPacked: Bool) async throws {
        try await withSpilled("flip", isPacked: isPacked) { scene in
            #expect(try await scene.isRight(way))
            #expect(await scene.server.nextLine() == "FLIPPED")
            let counters = try await scene.counters
            #expect(counters.damagedRecords == 0)
            #expect(counters.restoredObjects == (way == .whole ? 1 : 0))
        }
    }

    /// Between the two the object is read as it is.
    @Test(arguments: [Way.part, .partElsewhere], [false, true])
    func aWrongByteLongAfterAnotherIsReadOnceMoreToo(_ way: Way, isPacked: Bool) async throws {
        try await withSpilled("flip", isPacked: isPacked) { (scene) async throws in
            for number in [0, 0, 3, 0, 3] {
                let isRight = try await scene.isRight(way, blockNumber: number)
                #expect(isRight, "block \(number)")
            }
            for _ in 0..<2 { #expect(await scene.server.nextLine() == "FLIPPED") }
            let counters = try await scene.counters
            #expect(counters.damagedRecords == 0)
        }
    }

    @Test(arguments: Way.allCases, [false, true]) func whatIsWrongTwiceIsDamage(_ way: Way, isPacked: Bool) async throws {
        try await withSpilled("rot", isPacked: isPacked) { scene in
            let file = try #require(scene.node.spillLocation(of: scene.ref.id)?.file)
            let error = await failure { _ = try await scene.isRight(way) }
            #expect(error?.code == .corrupt && error?.message.contains(file) == true, "\(error?.message ?? "no failure")")
            #expect(try await scene.counters.damagedRecords == 1)
        }
    }
}
