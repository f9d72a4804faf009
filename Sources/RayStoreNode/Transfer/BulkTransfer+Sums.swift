// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// The checksums of files, each of which looks at its file, and so blocks; and of objects.
extension BulkTransfer {
    /// Has them computed when the machine has nothing else to do, if the node does that.
    func sumAhead(_ id: ObjectID, _ path: String) {
        // Refused for want of memory alone: then the first transfer computes them.
        _ = engine.use { handle in id.withC { _ = ray_transfer_sum_ahead(handle, &$0, path) } }
    }

    /// A file has its place and its times, and nobody writes to it any more.
    func notePlaced(_ id: ObjectID, _ path: String) {
        _ = engine.use { handle in id.withC { _ = ray_transfer_file_placed(handle, &$0, path) } }
    }

    /// Those of an object that its maker has hashed while it wrote it.
    ///
    /// - Throws: `notFound` when it has gone meanwhile; `invalidArgument` when they are not as many as its chunks.
    func give(_ sums: [UInt64], ofObject id: ObjectID, value: UInt64, size: UInt64) throws(RayStoreError) {
        var failure: RayStoreError?
        _ = engine.use { handle in
            do throws(RayStoreError) {
                try RayStoreError.check(object: id) {
                    id.withC {
                        ray_transfer_object_sums_give(handle, &$0, value, size, sums, UInt32(clamping: sums.count)).rawValue
                    }
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// - Returns: false when they are not of a file of this size.
    func give(_ sums: [UInt64], of id: ObjectID, at path: String) -> Bool {
        var isGiven = false
        _ = engine.use { handle in
            id.withC { isGiven = ray_transfer_file_sums_give(handle, &$0, path, sums, UInt32(clamping: sums.count)) == .ok }
        }
        return isGiven
    }

    /// Those of the file as it is, with what it is recognised by; nil unless all are known.
    func sums(of id: ObjectID, at path: String, size: UInt64) -> (identity: UInt64, sums: [UInt64])? {
        var sums = [UInt64](repeating: 0, count: Int((size + UInt64(RAY_CHUNK_SIZE) - 1) / UInt64(RAY_CHUNK_SIZE)))
        var (identity, count, isKnown) = (UInt64(0), UInt32(0), false)
        _ = engine.use { handle in
            id.withC {
                isKnown =
                    ray_transfer_file_sums_read(handle, &$0, path, &identity, &sums, UInt32(clamping: sums.count), &count) == .ok
            }
        }
        return isKnown && Int(count) == sums.count ? (identity, sums) : nil
    }
}
