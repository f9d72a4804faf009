// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// How urgent a pull is: it may become more urgent while the engine works on it, and before and between its attempts.
final class PullUrgency: Sendable {
    private struct State {
        var urgency: TransferTuning.Urgency
        /// Of the engine's pull under way; valid as long as it is here.
        var handle: CHandle?
    }

    private let state: Mutex<State>

    init(_ urgency: TransferTuning.Urgency) {
        state = Mutex(State(urgency: urgency))
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
}
