// SPDX-License-Identifier: Apache-2.0

/// When a node spills, and how much at once.
public struct SpillOptions: Sendable {
    /// The part of the store's capacity beyond which objects are spilled in the background.
    public var highWatermark = 0.8
    /// The part that it is brought down to then.
    public var lowWatermark = 0.7
    /// A file has at least so many bytes, or so many objects, unless fewer are to be had. In a store of less than four times these bytes a
    /// quarter of it is enough.
    public var fileBytes: UInt64 = 100 << 20
    public var fileObjects = 2000
    /// Files that are written at the same time.
    public var concurrentFiles = 2
    /// The part of the store's capacity that may hold what is read ahead for those who get objects in the order of their files, and that nobody has
    /// used yet; 0: nothing is read ahead.
    public var readAhead = 0.25
    /// Whether the data of records is packed.
    public var compression = SpillCompression.auto

    public init() {}

    func fileBytes(inStoreOf capacity: UInt64) -> UInt64 {
        max(1, min(fileBytes, capacity / 4))
    }
}
