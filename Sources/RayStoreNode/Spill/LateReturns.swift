// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Objects that came back after a wait for room: all of the store is wanted then, and they are the first that can go. They stay until whoever
/// asked for them can have pinned them.
struct LateReturns: Sendable {
    /// Between an object's return and its pin lie the answer over the client's socket and the waking of its thread, beside busy threads some
    /// milliseconds. Chosen, not measured: one that goes too early is asked for again.
    static let grace = Duration.milliseconds(50)

    private var coming: Set<ObjectID> = []
    private var back: [ObjectID: Duration] = [:]

    /// It has its place.
    mutating func begin(_ id: ObjectID) {
        coming.insert(id)
    }

    /// It is here, or will not be.
    mutating func end(_ id: ObjectID, at now: Duration) {
        if coming.remove(id) != nil { back[id] = now }
    }

    /// Those that stay for now.
    mutating func staying(at now: Duration) -> Set<ObjectID> {
        if !back.isEmpty { back = back.filter { now - $0.value < Self.grace } }
        return Set(back.keys)
    }
}
