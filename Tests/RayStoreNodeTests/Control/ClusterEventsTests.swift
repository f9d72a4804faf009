// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import Synchronization
import Testing

@testable import RayStoreNode

/// Who hears of nodes that come and go, while others stop listening.
@Suite(.timeLimit(.minutes(10))) struct ClusterEventsTests {
    /// A listener that waits is given an event at the moment at which it is cancelled, over and over.
    @Test func aListenerThatIsCancelledWhileAnEventComesStopsNobody() async {
        let events = ClusterEvents()
        let turns = Turns()
        let last = 5_000
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                // A thread of its own: both must be at it at once, whatever else waits for the pool.
                await runOnThread {
                    for number in 1...last {
                        // With one core the listener needs it to get there.
                        for spin in 0... {
                            if turns.round.load(ordering: .acquiring) >= number { break }
                            if spin % 1000 == 999 { sched_yield() }
                        }
                        events.publish(.jobEnded(JobID(rawValue: 1)))
                        turns.published.store(number, ordering: .releasing)
                    }
                }
            }
            for number in 1...last {
                let listener = Task.detached { for await _ in events.subscribe() {} }
                while events.subscriberCount == 0 { await Task.yield() }
                turns.round.store(number, ordering: .releasing)
                listener.cancel()
                await listener.value
                while turns.published.load(ordering: .acquiring) < number { await Task.yield() }
            }
        }
        #expect(events.subscriberCount == 0)
    }

    @Test func oneThatListensOnHearsEverythingInOrder() async {
        let events = ClusterEvents()
        let stream = events.subscribe()
        for number in UInt32(1)...50 {
            let brief = Task { [events] in for await _ in events.subscribe() { break } }
            events.publish(.jobEnded(JobID(rawValue: number)))
            brief.cancel()
            await brief.value
        }
        events.close()
        var heard: [JobID] = []
        for await case .jobEnded(let job) in stream { heard.append(job) }
        #expect(heard == (1...50).map { JobID(rawValue: $0) })
        #expect(events.subscriberCount == 0)
    }
}

/// Which round is to begin, and which events of them were given.
private final class Turns: Sendable {
    let round = Atomic<Int>(0)
    let published = Atomic<Int>(0)
}

private func runOnThread(_ body: @escaping @Sendable () -> Void) async {
    await withCheckedContinuation { done in
        Thread.detachNewThread {
            body()
            done.resume()
        }
    }
}
