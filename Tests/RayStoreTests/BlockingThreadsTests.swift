// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import RayStore

@Suite struct BlockingThreadsTests {
    @Test func aBodyRunsOnAnotherThreadAndItsValueComesBack() async throws {
        let value = try await runBlocking { () throws(RayStoreError) in 42 }
        #expect(value == 42)
    }

    @Test func whatTheBodyThrowsIsThrown() async {
        await #expect(throws: RayStoreError(.outOfDisk, "the disk is full")) {
            try await runBlocking { () throws(RayStoreError) -> Int in throw RayStoreError(.outOfDisk, "the disk is full") }
        }
    }

    @Test func thePoolNeverHasMoreThreadsThanItsLimitAndRunsEverything() async {
        let pool = BlockingThreads(limit: 3)
        let ran = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        #expect(
                            pool.submit {
                                ran.up()
                                continuation.resume()
                            })
                    }
                    #expect(pool.liveThreadCount <= 3)
                }
            }
        }
        #expect(ran.count == 200)
    }

    @Test func idleThreadsEnd() async throws {
        let pool = BlockingThreads(limit: 2, idleSeconds: 0)
        #expect(pool.submit {})
        let deadline = ContinuousClock.now + .seconds(10)
        while pool.liveThreadCount > 0, ContinuousClock.now < deadline {
            await Task.yield()
        }
        #expect(pool.liveThreadCount == 0)
    }
}
