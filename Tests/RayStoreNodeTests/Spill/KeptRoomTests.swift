// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// Memory that is full of what cannot go, and a storage that takes no more: what lies in it is read all the same.
@Suite struct KeptRoomTests {
    private static let size = 3 << 20
    private static let count = 8

    /// - Parameter pins: what fills memory is read meanwhile.
    private func withFullMemory(
        pins: Bool, _ body: (Node, Session, [ObjectRef<Bytes>]) async throws -> Void
    ) async throws {
        let storage = SwitchedStorage()
        try await withSpilling(capacity: 32 << 20, storage: { storage.over(FilesystemStorage(directories: [$0], owner: "node")) })
        { node, session, _ in
            var refs: [ObjectRef<Bytes>] = []
            for number in 0..<Self.count { refs.append(try session.put(bytes: pattern(Self.size, seed: UInt64(number)))) }
            try await spillAll(of: node) { try refs.allSatisfy { try !session.contains($0) } }
            storage.isFull = true
            var filling: [ObjectRef<Bytes>] = []
            var pinned: [Bytes] = []
            var full: RayStoreError?
            while full == nil {
                do throws(RayStoreError) {
                    filling.append(try session.put(bytes: pattern(100_000, seed: UInt64(1000 + filling.count))))
                    if pins { pinned.append(try await session.get(filling.last!)) }
                } catch {
                    full = error
                }
            }
            #expect(full?.code == .storeFull)
            #expect(full?.message.contains("are kept for what comes back") == true, "\(full?.message ?? "")")
            #expect(filling.count > 200)
            try await body(node, session, refs)
            // Those that wait with a put are still refused.
            let late = await failure { _ = try await session.put(bytes: pattern(Self.size), within: .milliseconds(300)) }
            #expect(late?.code == .timedOut, "\(late?.message ?? "")")
            for (number, ref) in filling.enumerated() {
                let isRight = equal(try await session.get(ref), pattern(100_000, seed: UInt64(1000 + number)))
                #expect(isRight)
            }
            pinned = []
            storage.isFull = false
        }
    }

    @Test(arguments: [false, true]) func whatWasSpilledIsReadOneAfterTheOther(pins: Bool) async throws {
        try await withFullMemory(pins: pins) { _, session, refs in
            for (number, ref) in refs.enumerated() {
                let value = try await session.get(ref, timeout: .seconds(30))
                #expect(equal(value, pattern(Self.size, seed: UInt64(number))))
            }
        }
    }

    @Test func whatIsWantedAtOnceComesInTurn() async throws {
        try await withFullMemory(pins: true) { node, session, refs in
            let other = try await Session.connect(socket: node.socketPath)
            var there: [ObjectRef<Bytes>] = []
            for ref in refs { there.append(try await other.open(ref.shared())) }
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<Self.count {
                    for (session, ref) in [(session, refs[number]), (other, there[number])] {
                        group.addTask {
                            equal(try await session.get(ref, timeout: .seconds(60)), pattern(Self.size, seed: UInt64(number)))
                        }
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
            await other.close()
        }
    }

    @Test func aPartIsRead() async throws {
        try await withFullMemory(pins: true) { _, session, refs in
            let part = 1_000_000..<1_200_000
            for (number, ref) in refs.enumerated() {
                let value = try await session.read(ref, part)
                #expect(equal(value, Array(pattern(Self.size, seed: UInt64(number))[part])))
            }
        }
    }

    /// It is kept only as long as something lies outside.
    @Test func memoryIsAllThereWhenNothingIsOutside() async throws {
        try await withSpilling(capacity: 32 << 20) { node, session, _ in
            let spilled = try session.put(bytes: pattern(Self.size))
            try await spillAll(of: node) { try !session.contains(spilled) }
            let most = (32 << 20) - (1 << 20)
            #expect(await failure { _ = try session.put(bytes: pattern(most)) }?.code == .storeFull)
            try await session.free(spilled)
            #expect(await eventually { await failure { _ = try session.put(bytes: pattern(most)) } == nil })
        }
    }

    /// What is larger than what is left beside it takes all there is.
    @Test func anObjectAsLargeAsTheStoreFindsRoomWhenEverythingElseCanGo() async throws {
        try await withSpilling(capacity: 32 << 20) { node, session, _ in
            let spilled = try session.put(bytes: pattern(Self.size))
            try await spillAll(of: node) { try !session.contains(spilled) }
            let size = (32 << 20) - (1 << 20)
            let huge = try await session.put(bytes: pattern(size), within: .seconds(60))
            #expect(equal(try await session.get(huge), pattern(size)))
            #expect(equal(try await session.get(spilled, timeout: .seconds(60)), pattern(Self.size)))
        }
    }
}
