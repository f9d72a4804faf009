// SPDX-License-Identifier: Apache-2.0

/// Who can give memory of the store up when it is short: by dropping what exists elsewhere, or by writing it to a storage.
protocol MemoryReliever: Sendable {
    /// Frees memory, and returns when that is done.
    ///
    /// - Parameters:
    ///   - bytes: what is wanted; it may free less, or a little more.
    ///   - isWanted: whether still more is, however much came free; asked after each step.
    /// - Returns: how much it has freed. 0: there is nothing now that it could give up.
    func free(_ bytes: UInt64, while isWanted: @Sendable () async -> Bool) async -> UInt64

    /// How much of the store is kept for what comes back from outside.
    var keptBytes: UInt64 { get }
}

extension MemoryReliever {
    var keptBytes: UInt64 { 0 }
}

extension Spiller: MemoryReliever {}

extension Spiller {
    /// What comes back and finds no place waits there.
    func wait(in room: RoomQueue) {
        self.room = room
    }
}
