// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// What files leave free of the disk they are on: so many bytes, and what is above the watermark; the larger of the two.
struct DiskLimits: Hashable, Sendable {
    var reserve: UInt64
    /// Up to how many thousandths the disk may be filled.
    var watermarkPermille: UInt32

    init(reserve: UInt64, watermarkPermille: UInt32 = 1000) {
        self.reserve = reserve
        self.watermarkPermille = watermarkPermille
    }

    /// - Parameter watermark: a part of the disk, above 0 and up to 1.
    /// - Throws: `invalidArgument` for a watermark that is no such part.
    init(reserve: UInt64, watermark: Double) throws(RayStoreError) {
        guard watermark > 0, watermark <= 1 else {
            throw RayStoreError(
                .invalidArgument, "the disk's watermark is \(watermark): it is a part of the disk, above 0 and up to 1")
        }
        self.init(reserve: reserve, watermarkPermille: max(1, UInt32((watermark * 1000).rounded())))
    }
}

/// A file system as it is now, counted as df does.
struct DiskState: Sendable {
    var total: UInt64
    /// For this user.
    var free: UInt64
    /// Of the free bytes, those that files leave.
    var kept: UInt64

    /// Looks at the file system that a path is on. May block.
    init(at path: String, _ limits: DiskLimits) throws(RayStoreError) {
        var info = ray_disk_info()
        try RayStoreError.check { ray_disk_look(path, &info).rawValue }
        total = info.total_bytes
        free = info.free_bytes
        kept = ray_disk_kept(&info, limits.reserve, limits.watermarkPermille)
    }
}
