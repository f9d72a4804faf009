// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import RayStoreNode

/// Tells the control store at every interval that the node lives, and the node when the store had given it up.
final class HeartbeatSender: Sendable {
    private let work: Task<Void, Never>

    /// Begins at once.
    ///
    /// - Parameter rejoin: called when the store does not know the node (any more). No heartbeat is sent until it returns.
    init(
        _ node: NodeID, to control: any ControlStore, every interval: Duration, clock: any NodeClock = SystemClock(),
        rejoin: @escaping @Sendable () async -> Void
    ) {
        work = Task {
            let log = Logger(label: "raystore.heartbeat")
            var due = clock.now
            while !Task.isCancelled {
                do throws(RayStoreError) {
                    if try await !control.heartbeat(node) {
                        log.debug("given up by the head, joining again", metadata: ["node": "\(node.short)"])
                        await rejoin()
                    }
                } catch {
                    log.debug("no heartbeat", metadata: ["node": "\(node.short)", "reason": "\(error.message)"])
                }
                // By the plan and not by the last answer: a slow one must not make the next one late.
                due = max(due + interval, clock.now)
                try? await clock.sleep(for: due - clock.now)
            }
        }
    }

    deinit {
        work.cancel()
    }

    /// Sends no more. Returns when nothing is under way.
    func stop() async {
        work.cancel()
        await work.value
    }
}
