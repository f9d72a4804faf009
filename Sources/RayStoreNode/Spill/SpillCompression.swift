// SPDX-License-Identifier: Apache-2.0

/// Whether objects are packed on their way to the storage, block by block. Blocks that gain nothing by it go as they are.
public enum SpillCompression: String, Sendable, CaseIterable {
    case off
    case on
    /// Where the storage says so: `ExternalStorage.packsByDefault`.
    case auto
}
