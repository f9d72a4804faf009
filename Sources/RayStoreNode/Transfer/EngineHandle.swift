// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// A transfer engine of the C core that may be destroyed while others still come to use it: who comes late is told that it is closed.
final class EngineHandle: Sendable {
    private let handle: Mutex<CHandle?>

    init(_ handle: OpaquePointer) {
        self.handle = Mutex(CHandle(handle))
    }

    /// False, without running the body, when the engine is gone. The body must be short: nobody else gets in meanwhile.
    func use(_ body: (OpaquePointer) -> Void) -> Bool {
        handle.withLock { handle in
            guard let handle else { return false }
            body(handle.pointer)
            return true
        }
    }

    /// Ends every transfer and waits for the engine's threads. Blocks; nothing when it is gone already.
    func destroy() {
        let last = handle.withLock { handle in
            defer { handle = nil }
            return handle
        }
        if let last { ray_transfer_destroy(last.pointer) }
    }

    /// The same on a thread that may block.
    func destroyAside() async {
        await withCheckedContinuation { continuation in
            let isAccepted = BlockingThreads.shared.submit {
                self.destroy()
                continuation.resume()
            }
            if !isAccepted {
                // There is no thread to be had: better a busy pool than an engine that goes on.
                destroy()
                continuation.resume()
            }
        }
    }

    static let isClosed = RayStoreError(.closed, "the node, or the fetch, is being stopped")
}
