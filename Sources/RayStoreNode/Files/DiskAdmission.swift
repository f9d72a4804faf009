// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// One file's way to its room on the disk, over the tries that filling it may take.
final class DiskAdmission: Sendable {
    /// Tries in a row that failed though there was room: what refuses then is not what free space says, such as a quota.
    private static let idleTriesMax = 3

    private struct State {
        var size: UInt64?
        var idleTries = 0
    }

    private let room: DiskRoom
    private let id: ObjectID
    private let state = Mutex(State())

    init(_ id: ObjectID, in room: DiskRoom) {
        self.id = id
        self.room = room
    }

    /// The file begins to come: nil when it has its room, else why not. For the transfer engine's threads.
    func open(_ size: UInt64) -> RayStoreError? {
        state.withLock { $0.size = size }
        if room.takeNow(id, size: size) { return nil }
        return RayStoreError(.outOfDisk, "no room for the file of object \(id) yet", object: id)
    }

    /// After a try that met a full disk: returns when there is room for another.
    ///
    /// - Throws: `outOfDisk`, which is `error` when there seemed to be room all the time; `cancelled`.
    func await(after error: RayStoreError) async throws(RayStoreError) {
        guard let size = state.withLock({ $0.size }) else { throw error }
        let hasLacked = try await room.take(id, size: size)
        let tries = state.withLock { state in
            state.idleTries = hasLacked ? 0 : state.idleTries + 1
            return state.idleTries
        }
        guard tries <= Self.idleTriesMax else { throw error }
    }

    /// The file is in its place, or nothing is left of it.
    func end() {
        room.release(id)
    }
}
