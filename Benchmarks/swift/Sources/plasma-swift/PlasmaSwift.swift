// SPDX-License-Identifier: Apache-2.0
import CAllocationCount
import Foundation
import RayStore
import RayStoreNode

/// What the Swift layer costs on top of the C core: a session of a node in this process, one thread.
///
/// Prints one JSON object a line, each the median of several runs after one that warms up. The work is the C benchmark's: 100,000 sealed
/// objects of 1 KB, a random one of them; or one put after the other, its ref dropped at once.
@main
struct PlasmaSwift {
    static let objectCount = 100_000
    static let byteCount = 1024
    static let getsInARun = 2_000_000
    static let putsInARun = 500_000
    static let runs = 7

    static func main() async throws {
        let session = try await Session.start(capacity: 1 << 30)
        let payload = [UInt8](repeating: 7, count: byteCount)
        let refs = try (0..<objectCount).map { _ in try session.put(bytes: payload) }

        try await measure("get_release", getsInARun) { try await getAndRelease(session, refs) }
        try await measure("get_release_if_local", getsInARun) { try getIfLocalAndRelease(session, refs) }
        try await measure("put_1kb", putsInARun) { try putAndDrop(session, payload) }
        await session.close()
    }

    /// `pin`: what a program writes that does not know where its object is.
    static func getAndRelease(_ session: Session, _ refs: [ObjectRef<Bytes>]) async throws {
        var random = Random()
        var total = 0
        for _ in 0..<getsInARun {
            let object = try await session.pin(refs[random.next(below: refs.count)])
            total += object.byteCount
        }
        guard total == getsInARun * byteCount else { fail("a pinned object has another size than was put") }
    }

    /// `pinIfLocal`: the same without the possibility of a wait.
    static func getIfLocalAndRelease(_ session: Session, _ refs: [ObjectRef<Bytes>]) throws {
        var random = Random()
        var total = 0
        for _ in 0..<getsInARun {
            guard let object = try session.pinIfLocal(refs[random.next(below: refs.count)]) else {
                fail("an object that was put is not here")
            }
            total += object.byteCount
        }
        guard total == getsInARun * byteCount else { fail("a pinned object has another size than was put") }
    }

    static func putAndDrop(_ session: Session, _ payload: [UInt8]) throws {
        for _ in 0..<putsInARun {
            _ = try session.put(bytes: payload)
        }
    }

    static func measure(_ name: String, _ count: Int, _ body: @Sendable () async throws -> Void) async throws {
        try await body()
        var rates: [Double] = []
        var allocations: [Double] = []
        for _ in 0..<runs {
            let blocks = allocation_count()
            let start = ContinuousClock.now
            try await body()
            let (seconds, attoseconds) = (ContinuousClock.now - start).components
            rates.append(Double(count) / (Double(seconds) + Double(attoseconds) * 1e-18))
            allocations.append(Double(allocation_count() - blocks) / Double(count))
        }
        line(name + "_ops", median(rates), "1/s")
        line(name + "_allocations", median(allocations), "1/call")
    }

    static func median(_ values: [Double]) -> Double {
        values.sorted()[values.count / 2]
    }

    static func line(_ name: String, _ value: Double, _ unit: String) {
        print("{\"name\":\"plasma.swift.\(name)\",\"value\":\(String(format: "%.6g", value)),\"unit\":\"\(unit)\"}")
    }

    static func fail(_ reason: String) -> Never {
        FileHandle.standardError.write(Data("plasma-swift: \(reason)\n".utf8))
        exit(1)
    }
}

/// Marsaglia's xorshift, as the C benchmark has it.
struct Random {
    private var state: UInt64 = 88_172_645_463_325_252

    mutating func next(below limit: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state % UInt64(limit))
    }
}
