// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// What came of letting files go.
enum DiskRelief: Hashable, Sendable {
    /// Some went.
    case went
    /// None yet: what has just come is left to who asked for it for a moment.
    case soon
    /// None; so many bytes could go if nobody had them open.
    case open(UInt64)
}

/// Who can make room on the disk when files need it.
protocol DiskReliever: AnyObject, Sendable {
    /// Lets files go that are to be had elsewhere, those that were used longest ago first, until so many bytes of them went or no more can.
    func relieveDisk(of bytes: UInt64) async -> DiskRelief

    /// What takes the room and cannot go, in words, for who finds none; empty when there is nothing.
    func whatHoldsTheDisk() async -> String
}
