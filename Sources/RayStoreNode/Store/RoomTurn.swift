// SPDX-License-Identifier: Apache-2.0

/// How long others may pass a request that is next and has no room yet, and how long all that comes free is kept for it.
///
/// At first as many bytes may pass as it wants itself: most heads are served before that. Then nothing passes for a while, each time for
/// longer, and in between only an eighth: so what comes free adds up until it is enough, and yet nobody stands still for more than some seconds.
///
/// Clients that create by themselves cannot wait their turn. So they have a little in the holds, too, spread over each: the small ones of them
/// are not refused memory that is there, and all of them together cannot take more of a hold than of a pass.
struct RoomTurn {
    static let passTime = Duration.milliseconds(500)
    static let holdTimeMost = Duration.seconds(8)
    private static let slices = 8

    let ticket: UInt64
    private let bytes: UInt64
    /// What may still pass in the queue.
    private(set) var passBytes: UInt64
    /// What clients that create by themselves may take until `advance` says otherwise.
    private(set) var ownBytes: UInt64
    private var isHolding = false
    private var phaseEnd: Duration
    private var sliceTime = Duration.zero
    private var sliceEnd = Duration.zero
    private var holdTime = Duration.seconds(1)

    init(_ ticket: UInt64, bytes: UInt64, now: Duration) {
        self.ticket = ticket
        self.bytes = bytes
        passBytes = bytes
        ownBytes = bytes
        phaseEnd = now + Self.passTime
    }

    mutating func notePassed(_ bytes: UInt64) {
        passBytes -= min(bytes, passBytes)
    }

    /// Goes on to the next phase, or the next slice of a hold, when this one is over.
    ///
    /// - Returns: whether that is so; then `passBytes` and `ownBytes` are what may pass from now on.
    mutating func advance(now: Duration) -> Bool {
        guard now >= phaseEnd else { return advanceInHold(now: now) }
        isHolding.toggle()
        if isHolding {
            passBytes = 0
            phaseEnd = now + holdTime
            sliceTime = holdTime / Self.slices
            beginSlice(now: now)
            holdTime = min(holdTime * 2, Self.holdTimeMost)
        } else {
            passBytes = max(bytes / 8, 64 << 10)
            ownBytes = passBytes
            phaseEnd = now + Self.passTime
        }
        return true
    }

    private mutating func advanceInHold(now: Duration) -> Bool {
        guard isHolding, now >= sliceEnd else { return false }
        beginSlice(now: now)
        return true
    }

    private mutating func beginSlice(now: Duration) {
        ownBytes = max(bytes / 8, 64 << 10) / UInt64(Self.slices)
        sliceEnd = now + sliceTime
    }
}
