// SPDX-License-Identifier: Apache-2.0
import Metrics
import Synchronization

/// A factory that remembers the last value of a gauge, the sum of a counter, and how often a timer recorded.
final class RecordingFactory: MetricsFactory {
    private struct State {
        var values: [String: Double] = [:]
        var dimensions: [String: [String]] = [:]
        var liveCount = 0
    }

    private let state = Mutex(State())

    subscript(label: String) -> Double? { state.withLock { $0.values[label] } }
    var liveCount: Int { state.withLock { $0.liveCount } }
    func dimensions(of label: String) -> [String] { state.withLock { $0.dimensions[label] ?? [] } }

    private func make(_ label: String, _ dimensions: [(String, String)]) -> Handler {
        state.withLock {
            $0.dimensions[label] = dimensions.map { "\($0.0)=\($0.1)" }
            $0.liveCount += 1
        }
        return Handler(label: label, factory: self)
    }

    fileprivate func change(_ label: String, _ body: (inout Double?) -> Void) {
        state.withLock { body(&$0.values[label]) }
    }

    private func drop() { state.withLock { $0.liveCount -= 1 } }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { make(label, dimensions) }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        make(label, dimensions)
    }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { make(label, dimensions) }
    func destroyCounter(_ handler: any CounterHandler) { drop() }
    func destroyRecorder(_ handler: any RecorderHandler) { drop() }
    func destroyTimer(_ handler: any TimerHandler) { drop() }

    private final class Handler: CounterHandler, RecorderHandler, TimerHandler {
        private let label: String
        private let factory: RecordingFactory

        init(label: String, factory: RecordingFactory) {
            self.label = label
            self.factory = factory
        }

        func increment(by amount: Int64) { factory.change(label) { $0 = ($0 ?? 0) + Double(amount) } }
        func reset() { factory.change(label) { $0 = 0 } }
        func record(_ value: Int64) { factory.change(label) { $0 = Double(value) } }
        func record(_ value: Double) { factory.change(label) { $0 = value } }
        func recordNanoseconds(_ duration: Int64) { factory.change(label) { $0 = ($0 ?? 0) + 1 } }
    }
}
