// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Frees memory on a node that cannot spill: gives up copies that their owners, or others, have too, least recently used first.
///
/// `@unchecked Sendable`: `ownership` is set once, before anybody waits for room.
final class ReplicaReliever: MemoryReliever, @unchecked Sendable {
    private static let looksAtMost = 4096

    private let store: NodeStore
    private let files: FileKeeper
    /// It leads back here.
    private weak var ownership: Ownership?

    init(_ ownership: Ownership, store: NodeStore, files: FileKeeper) {
        self.ownership = ownership
        self.store = store
        self.files = files
    }

    func free(_ bytes: UInt64) async -> UInt64 {
        guard let ownership else { return 0 }
        let store = store
        // A node without a thread to spare frees nothing now.
        let found = try? await runBlocking { () throws(RayStoreError) in
            try store.victims(.max, limit: Self.looksAtMost)
        }
        let usable = (found ?? []).filter { $0.nodeHasRef && !files.has($0.id) }
        let standings = await ownership.standings(of: usable.map(\.id))
        var chosen: [StoreEntry] = []
        var chosenBytes: UInt64 = 0
        for isKept in [false, true] {
            for (entry, standing) in zip(usable, standings) where standing == .replica(isKept: isKept) && chosenBytes < bytes {
                chosen.append(entry)
                chosenBytes += entry.memoryBytes
            }
        }
        guard !chosen.isEmpty else { return 0 }
        let gone = await ownership.giveUpReplicas(chosen.map(\.id))
        return chosen.filter { gone.contains($0.id) }.reduce(0) { $0 + $1.memoryBytes }
    }
}
