// SPDX-License-Identifier: Apache-2.0
internal import Dispatch
internal import Foundation
internal import Synchronization

/// The user, or the system, wants the tool to end.
struct Interruption: Error, Sendable {
    let signal: Int32

    var name: String {
        switch signal {
        case SIGINT: "Ctrl-C"
        case SIGTERM: "SIGTERM"
        case SIGHUP: "SIGHUP"
        default: "signal \(signal)"
        }
    }

    /// As a shell gives it for a process that a signal ended.
    var exitCode: Int32 { 128 + signal }
}

/// SIGINT, SIGTERM and SIGHUP as events on a queue, so that what follows may do more than a signal handler may.
///
/// @unchecked: the sources are set once, and libdispatch lets any thread cancel them.
final class SignalWatch: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]

    /// From now on the signals do nothing but this.
    init(_ received: @escaping @Sendable (Int32) -> Void) {
        sources = [SIGINT, SIGTERM, SIGHUP].map { number in
            Foundation.signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { received(number) }
            source.activate()
            return source
        }
    }

    func cancel() {
        for source in sources { source.cancel() }
    }
}

/// Runs a body as a task that SIGINT, SIGTERM or SIGHUP cancels, and waits until it has cleaned up.
///
/// - Throws: `Interruption` when the body fails after such a signal; else what the body throws.
func interruptible<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    let (signals, continuation) = AsyncStream.makeStream(of: Int32.self)
    let watch = SignalWatch { continuation.yield($0) }
    defer { watch.cancel() }
    let first = Mutex<Int32?>(nil)
    let work = Task { try await body() }
    let listener = Task {
        for await number in signals {
            first.withLock { $0 = $0 ?? number }
            work.cancel()
        }
    }
    defer { listener.cancel() }
    do {
        return try await work.value
    } catch {
        if let number = first.withLock({ $0 }) { throw Interruption(signal: number) }
        throw error
    }
}
