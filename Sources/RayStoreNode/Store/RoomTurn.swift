// SPDX-License-Identifier: Apache-2.0

/// How long others may pass a request that is next and has no room yet, and how long all that comes free is kept for it.
///
/// At first as many bytes may pass as it wants itself: most heads are served before that. Then nothing passes for a while, each time for
/// longer, and in between only an eighth: so what comes free adds up until it is enough, and yet nobody stands still for more than some seconds.
struct RoomTurn {
    static let passTime = Duration.milliseconds(500)
    static let holdTimeMost = Duration.seconds(8)

    let ticket: UInt64
    private let bytes: UInt64
    /// What may still pass in the queue. Clients that create by themselves have as much again.
    private(set) var passBytes: UInt64
    private var isHolding = false
    private var phaseEnd: Duration
    private var holdTime = Duration.seconds(1)

    init(_ ticket: UInt64, bytes: UInt64, now: Duration) {
        self.ticket = ticket
        self.bytes = bytes
        passBytes = bytes
        phaseEnd = now + Self.passTime
    }

    mutating func notePassed(_ bytes: UInt64) {
        passBytes -= min(bytes, passBytes)
    }

    /// Goes on to the next phase when this one is over.
    ///
    /// - Returns: whether that is so; then `passBytes` is what may pass from now on.
    mutating func advance(now: Duration) -> Bool {
        guard now >= phaseEnd else { return false }
        isHolding.toggle()
        if isHolding {
            passBytes = 0
            phaseEnd = now + holdTime
            holdTime = min(holdTime * 2, Self.holdTimeMost)
        } else {
            passBytes = max(bytes / 8, 64 << 10)
            phaseEnd = now + Self.passTime
        }
        return true
    }
}
