// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// How the records of a file are packed.
package struct SpillPacking: Sendable {
    /// Of packed data that is kept in memory until a file is written.
    package var keepBytes: UInt64 = 24 << 20
    /// Whether the storage takes what is beyond that in ranges, packed when it asks for them. Objects stay unpacked else.
    package var isByRange: Bool
    /// One of the core's. What it does not know cannot be packed with.
    package var codec = UInt16(RAY_CODEC_AUTO)
    /// What chooses the codecs; nil: zstd 1 for all that shrinks.
    package var pace: StoragePace?

    package init(isByRange: Bool) {
        self.isByRange = isByRange
    }

    init?(_ compression: SpillCompression, for storage: any ExternalStorage) {
        guard compression == .on || (compression == .auto && storage.packsByDefault) else { return nil }
        self.init(isByRange: storage.takesBytesByRange)
        pace = StoragePace()
    }

    var options: ray_spill_packing {
        ray_spill_packing(
            struct_size: UInt32(MemoryLayout<ray_spill_packing>.size), codec: codec, level: 0,
            keep_bytes: keepBytes, by_range: isByRange, pace: pace?.pointer)
    }

    /// Nothing is packed; what could be taken for an announcement is told from one.
    static var none: ray_spill_packing {
        ray_spill_packing(
            struct_size: UInt32(MemoryLayout<ray_spill_packing>.size), codec: UInt16(RAY_CODEC_NONE), level: 0, keep_bytes: 0,
            by_range: false, pace: nil)
    }
}
