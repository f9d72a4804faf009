// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

// Packed records: read a window at a time, so that no object is in memory twice.
extension Spiller {
    typealias TakePacked = @Sendable (_ extent: PackedExtent, _ bytes: UnsafeRawBufferPointer, _ codec: OpaquePointer) -> Void

    /// Reads the pieces, in the order in which they lie in the file, and gives each to the body. The next window is read while one is unpacked.
    ///
    /// - Throws: what the storage answered; `outOfMemory`.
    func readPacked(_ extents: [PackedExtent], of file: String, _ take: @escaping TakePacked) async throws(RayStoreError) {
        let windows = PackedWindow.windows(of: extents)
        var coming = windows.first.map { begin($0, of: file) }
        for (number, window) in windows.enumerated() {
            guard let reading = coming else { break }
            let buffer = try await reading.value.get()
            coming = number + 1 < windows.count ? begin(windows[number + 1], of: file) : nil
            do throws(RayStoreError) {
                try await runBlocking(on: threads) { () throws(RayStoreError) in try Self.give(window, buffer, to: take) }
            } catch {
                _ = await coming?.value
                throw error
            }
        }
    }

    private func begin(_ window: PackedWindow, of file: String) -> Task<Result<BlockBuffer, RayStoreError>, Never> {
        let storage = storage
        return Task {
            let buffer = BlockBuffer(count: window.size)
            do throws(RayStoreError) {
                try await storage.restore(file, from: window.offset, into: SpillMemory(unsafePieces: [buffer.bytes]))
                return .success(buffer)
            } catch {
                return .failure(error)
            }
        }
    }

    private static func give(_ window: PackedWindow, _ buffer: BlockBuffer, to take: TakePacked) throws(RayStoreError) {
        try PackedExtent.withCodec { codec in
            var at = 0
            for extent in window.extents {
                take(extent, UnsafeRawBufferPointer(rebasing: buffer.bytes[at..<(at + extent.size)]), codec)
                at += extent.size
            }
        }
    }
}
