// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// The refs, pins and files that the demo holds, until it lets go of all of them at once.
final class DemoObjects: Sendable {
    private struct Held {
        var refs: [AnyObjectRef] = []
        var files: [RayFile] = []
        var pins: [PinnedValue] = []
    }

    private let held = Mutex(Held())

    func hold(_ refs: AnyObjectRef...) {
        held.withLock { $0.refs += refs }
    }

    func hold(_ file: RayFile) {
        held.withLock { $0.files.append(file) }
    }

    func hold(_ pins: PinnedValue...) {
        held.withLock { $0.pins += pins }
    }

    func letGo() {
        let last = held.withLock { held in
            defer { held = Held() }
            return held
        }
        // Dropped outside of the lock, and before this returns.
        withExtendedLifetime(last) {}
    }
}
