// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// A piece of a packed record that is read as a whole: a frame, or what stands before the first.
struct PackedExtent: Sendable {
    /// Whose, where several are read together.
    let item: Int
    /// Whose frame; nil for what stands before.
    let block: Int?
    /// In the file.
    let offset: UInt64
    let size: Int

    /// The frames of these blocks of the data.
    static func frames(of record: SpillRecord, as item: Int, blocks: Range<Int>) -> [PackedExtent] {
        var offset = record.dataOffset + record.frames[..<blocks.lowerBound].reduce(0) { $0 + UInt64($1) }
        return blocks.map { block in
            let size = record.frames[block]
            defer { offset += UInt64(size) }
            return PackedExtent(item: item, block: block, offset: offset, size: Int(size))
        }
    }

    /// Runs the body with a codec to unpack frames with.
    static func withCodec<Value>(_ body: (OpaquePointer) throws(RayStoreError) -> Value) throws(RayStoreError) -> Value {
        var made: OpaquePointer?
        try RayStoreError.check { ray_codec_create(&made).rawValue }
        defer { ray_codec_destroy(made) }
        return try body(made!)
    }

    /// Unpacks a frame.
    ///
    /// - Returns: why it is not the block's.
    func unpack(
        _ bytes: UnsafeRawBufferPointer, of id: ObjectID, _ record: SpillRecord, into place: UnsafeMutableRawPointer,
        with codec: OpaquePointer
    ) -> RayStoreError? {
        guard let block else { return nil }
        let from = UInt64(block) * UInt64(RAY_SPILL_SUM_BYTES)
        let size = UInt32(min(record.dataSize - from, UInt64(RAY_SPILL_SUM_BYTES)))
        let frame = bytes.assumingMemoryBound(to: UInt8.self)
        let status = id.withC {
            ray_spill_unpack(codec, frame.baseAddress!, frame.count, &$0, UInt32(block), record.blockSums[block], place, size)
        }
        guard status != .ok else { return nil }
        let reason = String(cString: ray_last_error_message())
        // Of another version is altered too: this node wrote it.
        let code = status == .outOfMemory ? RayStoreError.Code.outOfMemory : .corrupt
        return RayStoreError(code, "\(reason); it is at byte \(offset) of the file", object: id)
    }
}

/// Pieces that lie one after the other and are read at once.
struct PackedWindow: Sendable {
    /// Of one; a piece alone may be larger.
    static let bytesMax = 8 << 20

    let extents: ArraySlice<PackedExtent>
    let size: Int

    var offset: UInt64 { extents.first!.offset }

    static func windows(of extents: [PackedExtent]) -> [PackedWindow] {
        var windows: [PackedWindow] = []
        var begin = 0
        var size = 0
        for (index, extent) in extents.enumerated() {
            let follows = index == 0 || extents[index - 1].offset + UInt64(extents[index - 1].size) == extent.offset
            if index > begin, !follows || size + extent.size > bytesMax {
                windows.append(PackedWindow(extents: extents[begin..<index], size: size))
                begin = index
                size = 0
            }
            size += extent.size
        }
        if begin < extents.count { windows.append(PackedWindow(extents: extents[begin...], size: size)) }
        return windows
    }
}
