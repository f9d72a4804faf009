// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// A pull as seen by those who wait for it, while the engine works on it, and before and between its attempts: how urgent it is, which may
/// become more, what holds it up, and where else the object is to be had.
final class PullUrgency: Sendable {
    private struct State {
        var urgency: TransferTuning.Urgency
        /// Of the engine's pull under way; valid as long as it is here.
        var handle: CHandle?
        /// Why the latest attempt ended, until the next one brings something.
        var hindrance: String?
        var doneBytes: UInt64 = 0
        /// When more came the last time.
        var lastArrival: Duration
        /// Other places that nobody has told the engine of yet.
        var offers: [BulkEndpoint] = []
    }

    private let state: Mutex<State>

    /// - Parameter now: when the pull begins.
    init(_ urgency: TransferTuning.Urgency, at now: Duration = .zero) {
        state = Mutex(State(urgency: urgency, lastArrival: now))
    }

    var value: TransferTuning.Urgency { state.withLock { $0.urgency } }

    /// Makes it as urgent as this, if it is less.
    func raise(to urgency: TransferTuning.Urgency) {
        state.withLock { state in
            guard urgency < state.urgency else { return }
            state.urgency = urgency
            Self.tell(state)
        }
    }

    func attach(_ handle: CHandle) {
        state.withLock { state in
            state.handle = handle
            Self.tell(state)
            for source in state.offers { Self.add(source, to: handle) }
            state.offers = []
        }
    }

    func detach() {
        state.withLock { $0.handle = nil }
    }

    // A class that exists cannot be refused, and the engine takes what is less urgent for nothing to do.
    private static func tell(_ state: State) {
        guard let handle = state.handle else { return }
        _ = ray_pull_set_urgency(handle.pointer, UInt32(state.urgency.number))
    }

    // MARK: What holds it up

    /// Why nothing comes now; nil while something does.
    var hindrance: String? {
        state.withLock { state in
            guard let handle = state.handle else { return state.hindrance }
            let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { bytes in
                let size = ray_pull_standstill(handle.pointer, bytes.baseAddress, bytes.count)
                return String(decoding: bytes.prefix(min(size, bytes.count - 1)).map(UInt8.init(bitPattern:)), as: UTF8.self)
            }
            return text.isEmpty ? state.hindrance : text
        }
    }

    func noteHindrance(_ text: String) {
        state.withLock { $0.hindrance = text }
    }

    /// Keeps what holds it up now, for who asks after its end.
    func keepHindrance() {
        if let text = hindrance { noteHindrance(text) }
    }

    func noteProgress(_ doneBytes: UInt64, at now: Duration) {
        state.withLock { state in
            if doneBytes > state.doneBytes {
                state.hindrance = nil
                state.lastArrival = now
            }
            state.doneBytes = doneBytes
        }
    }

    /// When more came the last time; the pull's beginning, if nothing has.
    var lastArrival: Duration { state.withLock { $0.lastArrival } }

    // MARK: Where else it is to be had

    /// Somebody else has the object now. An attempt that has looked for sources and not begun yet hears of it when it begins.
    func offer(_ source: BulkEndpoint) {
        state.withLock { state in
            if let handle = state.handle {
                Self.add(source, to: handle)
            } else if !state.offers.contains(source) {
                state.offers.append(source)
            }
        }
    }

    /// An attempt is about to look for sources, and finds all that were offered: some may have none any more.
    func forgetOffers() {
        state.withLock { $0.offers = [] }
    }

    private static func add(_ source: BulkEndpoint, to handle: CHandle) {
        var endpoint = ray_endpoint(source)
        // One that has just ended has no use for it.
        _ = ray_pull_add_source(handle.pointer, &endpoint)
    }
}
