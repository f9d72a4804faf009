// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import CRayStoreS3
internal import RayStore

/// A storage that can be read on the thread that asks, as the transfer engine's do.
protocol DirectStorage: ExternalStorage {
    /// As `restore`. Blocks.
    func restoreHere(_ file: String, from offset: UInt64, into memory: SpillMemory) throws(RayStoreError)
}

extension FilesystemStorage: DirectStorage {
    func restoreHere(_ file: String, from offset: UInt64, into memory: SpillMemory) throws(RayStoreError) {
        try RayStoreError.check { ray_spill_read(file, offset, memory.parts, UInt32(memory.parts.count)).rawValue }
    }
}

extension S3Storage: DirectStorage {
    func restoreHere(_ file: String, from offset: UInt64, into memory: SpillMemory) throws(RayStoreError) {
        let place = try S3Location(file)
        let status = ray_s3_get(client, place.bucket, place.path, offset, memory.parts, UInt32(memory.parts.count))
        if status == .notFound { throw RayStoreError(.fileNotFound, String(cString: ray_last_error_message())) }
        try RayStoreError.check { status.rawValue }
    }
}
