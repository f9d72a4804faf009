// SPDX-License-Identifier: Apache-2.0

/// Bounds the memory in which packed records stand as they were read, for all who unpack some at the same time.
///
/// First come, first served. Nobody waits here while what is already read waits to be unpacked, so nobody waits in a circle.
actor PackedRoom {
    private struct Waiting {
        let bytes: Int
        let continuation: CheckedContinuation<Void, Never>
    }

    private let limit: Int
    private var taken = 0
    private var waiting: [Waiting] = []
    /// The most that was taken at a time.
    private(set) var peak = 0

    init(limit: Int) {
        self.limit = limit
    }

    /// Waits for so much. What is larger than all comes alone.
    func take(_ bytes: Int) async {
        if waiting.isEmpty, fits(bytes) {
            add(bytes)
        } else {
            await withCheckedContinuation { waiting.append(Waiting(bytes: bytes, continuation: $0)) }
        }
    }

    func give(_ bytes: Int) {
        taken -= bytes
        while let next = waiting.first, fits(next.bytes) {
            waiting.removeFirst()
            add(next.bytes)
            next.continuation.resume()
        }
    }

    private func fits(_ bytes: Int) -> Bool { taken == 0 || taken + bytes <= limit }

    private func add(_ bytes: Int) {
        taken += bytes
        peak = max(peak, taken)
    }
}
