// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
package import RayStore

/// Objects laid down as the records of one file: the lengths that stand before each, and where all the pieces lie.
///
/// `@unchecked Sendable`: nothing changes after `init` but checksums of data that a `SummingStorage` makes, before anybody asks for a record; the objects' own
/// memory is held by whoever lays them down.
package final class SpillLayout: @unchecked Sendable {
    /// An object where it lies.
    package struct Object {
        package var id: ObjectID
        package var owner: UnsafeRawBufferPointer
        package var metadata: UnsafeRawBufferPointer
        package var data: UnsafeRawBufferPointer

        package init(id: ObjectID, owner: UnsafeRawBufferPointer, metadata: UnsafeRawBufferPointer, data: UnsafeRawBufferPointer)
        {
            self.id = id
            self.owner = owner
            self.metadata = metadata
            self.data = data
        }
    }

    private let name: String
    private let objects: UnsafeMutableBufferPointer<ray_spill_object>
    private let headers: UnsafeMutableBufferPointer<UInt8>
    private let parts: UnsafeMutableBufferPointer<ray_spill_part>
    /// Of the objects' blocks, one object after the other.
    private let sums: UnsafeMutableBufferPointer<UInt64>
    /// Nil: nothing is packed, and nothing is announced.
    private let packed: OpaquePointer?
    /// Nil: there are checksums of all data.
    private let summing: OpaquePointer?

    /// Reads all of the objects' data, for the checksums, and packs it: blocks as long as that takes. Without memory for that it stays unpacked.
    ///
    /// - Parameter storage: who writes the batch; a `SummingStorage` makes the checksums of what is not packed.
    /// - Throws: why it could not be packed, when the metadata of one begins like an announcement: whoever reads it later would take it for one.
    package init(
        _ objects: [Object], packing: SpillPacking? = nil, for storage: (any ExternalStorage)? = nil
    ) throws(RayStoreError) {
        precondition(!objects.isEmpty, "a file has at least one record")
        name = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(RAY_SPILL_NAME_SIZE)) { text in
            objects[0].id.withC { ray_spill_name(&$0, UInt32(objects.count), text.baseAddress!) }
            return String(cString: text.baseAddress!)
        }
        headers = .allocate(capacity: objects.count * Int(RAY_SPILL_HEADER_SIZE))
        headers.initialize(repeating: 0)
        parts = .allocate(capacity: objects.count * Int(RAY_SPILL_PARTS))
        parts.initialize(repeating: ray_spill_part())
        sums = .allocate(capacity: Int(objects.reduce(0) { $0 + ray_spill_sum_count(UInt64($1.data.count)) }))
        sums.initialize(repeating: 0)
        var place = sums.baseAddress
        let laid = UnsafeMutableBufferPointer<ray_spill_object>.allocate(capacity: objects.count)
        self.objects = laid
        for (index, object) in objects.enumerated() {
            var spilled = ray_spill_object()
            spilled.owner = object.owner.baseAddress
            spilled.owner_size = UInt64(object.owner.count)
            spilled.metadata = object.metadata.baseAddress
            spilled.metadata_size = UInt64(object.metadata.count)
            spilled.data = object.data.baseAddress
            spilled.data_size = UInt64(object.data.count)
            spilled.sums = place
            object.id.withC { spilled.id = $0 }
            place = place.map { $0 + Int(ray_spill_sum_count(spilled.data_size)) }
            laid.initializeElement(at: index, to: spilled)
        }
        let count = UInt32(laid.count)
        var summing: OpaquePointer?
        // Without memory for it the sums are made here.
        if storage is any SummingStorage, ray_spill_summing_create(laid.baseAddress!, count, &summing) == .ok {
            ray_spill_lay_unsummed(laid.baseAddress!, count, headers.baseAddress!, parts.baseAddress!)
        } else {
            ray_spill_lay(laid.baseAddress!, count, headers.baseAddress!, parts.baseAddress!)
        }
        self.summing = summing
        var packed: OpaquePointer?
        var failure: RayStoreError?
        let mustAnnounce = laid.contains { ray_spill_is_announced($0.metadata, $0.metadata_size) }
        if packing != nil || mustAnnounce {
            var options = packing?.options ?? SpillPacking.none
            // The options point to its pace.
            defer { withExtendedLifetime(packing) {} }
            let (headers, parts) = (headers.baseAddress!, parts.baseAddress!)
            do throws(RayStoreError) {
                try RayStoreError.check {
                    ray_spill_pack(laid.baseAddress!, count, &options, headers, parts, &packed).rawValue
                }
            } catch {
                packed = nil
                failure = mustAnnounce ? error : nil
            }
        }
        self.packed = packed
        if let failure { throw failure }
    }

    deinit {
        ray_spill_summing_destroy(summing)
        ray_spill_packed_destroy(packed)
        objects.deallocate()
        headers.deallocate()
        parts.deallocate()
        sums.deallocate()
    }

    /// What packing blocks once more has taken, which the storage waited for while it wrote.
    package var packedAgain: Duration { packed.map { .nanoseconds(Int64(clamping: ray_spill_packed_again_ns($0))) } ?? .zero }

    /// Valid as long as the layout is.
    package var batch: SpillBatch {
        SpillBatch(
            name: name, recordSizes: objects.map(\.size), parts: UnsafeBufferPointer(parts), packed: packed.map { CHandle($0) },
            summing: summing.map { CHandle($0) })
    }

    /// Where the record of the n-th object lies in the file of this URL.
    package func location(_ index: Int, in url: String) -> SpillLocation {
        let object = objects[index]
        return SpillLocation(file: url, offset: object.offset, size: object.size, checksum: object.checksum)
    }

    private static func shortMetadata(of object: ray_spill_object) -> [UInt8]? {
        guard object.metadata_size <= 1024 else { return nil }
        return Array(UnsafeRawBufferPointer(start: object.metadata, count: Int(object.metadata_size)))
    }

    /// The same, and what must be found there.
    ///
    /// - Parameter path: where the file can be read without asking the storage.
    func record(_ index: Int, in url: String, path: String?) -> SpillRecord {
        let object = objects[index]
        let blocks = Int(ray_spill_sum_count(object.data_size))
        let isDirect = path != nil && object.frames == nil
        return SpillRecord(
            location: location(index, in: url), path: path, ownerSize: object.owner_size, metadataSize: object.metadata_size,
            dataSize: object.data_size, metadataChecksum: object.metadata_checksum,
            blockSums: Array(UnsafeBufferPointer(start: object.sums, count: blocks)),
            announcedSize: UInt64(object.announced_size), metadata: isDirect ? nil : Self.shortMetadata(of: object),
            frames: object.frames == nil ? [] : Array(UnsafeBufferPointer(start: object.frames, count: blocks)))
    }
}
