// SPDX-License-Identifier: Apache-2.0

/// What a node has spilled and restored since its start, and what lies in its storage now.
public struct SpillCounters: Codable, Hashable, Sendable {
    /// The kind of storage, as `ExternalStorage.typeName` says.
    public var storage: String
    public var spilledObjects: UInt64 = 0
    /// Of the records, their lengths and metadata included.
    public var spilledBytes: UInt64 = 0
    /// What the same records would be if nothing in them were packed.
    public var spilledOwnBytes: UInt64 = 0
    /// While the storage was writing at least one file, without what was waited for before or between two tries; bytes over seconds is the rate.
    public var spillSeconds: Double = 0
    /// When the storage had last taken a file, in seconds since 1970 by this machine's clock; 0: it has taken none.
    public var spilledAt: Double = 0
    /// Files that could not be written.
    public var failedSpills: UInt64 = 0
    public var restoredObjects: UInt64 = 0
    public var restoredBytes: UInt64 = 0
    /// While at least one record was being read and verified, without the wait for its room in memory.
    public var restoreSeconds: Double = 0
    /// Of what was restored: what nobody had asked for yet.
    public var readAheadObjects: UInt64 = 0
    public var readAheadBytes: UInt64 = 0
    /// Of that: what was used while it was there.
    public var readAheadUsedObjects: UInt64 = 0
    /// Records that were found altered, cut or gone.
    public var damagedRecords: UInt64 = 0
    /// Objects whose memory was given up without a write: another node has them, or a record does.
    public var evictedObjects: UInt64 = 0
    public var evictedBytes: UInt64 = 0
    /// Files of earlier lives of the node that were removed at its start, and those that its list named and that were not there.
    public var sweptFiles: UInt64 = 0
    public var missingFiles: UInt64 = 0
    /// In the storage now.
    public var recordCount: UInt64 = 0
    public var recordBytes: UInt64 = 0
    /// What the same records would be if nothing in them were packed.
    public var recordOwnBytes: UInt64 = 0
    public var fileCount: UInt64 = 0
    /// Of the files, with the records that are needed no more.
    public var fileBytes: UInt64 = 0

    public init(storage: String) {
        self.storage = storage
    }
}
