// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

// Packed records: read a window at a time, so that no object is in memory twice.
extension Spiller {
    /// Of all windows together: two for each of two passes.
    static let packedBytesMax = 4 * PackedWindow.bytesMax

    typealias TakePacked = @Sendable (_ extent: PackedExtent, _ bytes: UnsafeRawBufferPointer, _ codec: OpaquePointer) -> Void

    /// Reads the pieces, in the order in which they lie in the file, and gives each to the body. The next window is read while one is unpacked.
    ///
    /// - Throws: what the storage answered; `outOfMemory`.
    func readPacked(_ extents: [PackedExtent], of file: String, _ take: @escaping TakePacked) async throws(RayStoreError) {
        let windows = PackedWindow.windows(of: extents)
        var coming = windows.first.map { begin($0, of: file) }
        for (number, window) in windows.enumerated() {
            guard let reading = coming else { break }
            let buffer = try await read(reading, window)
            coming = number + 1 < windows.count ? begin(windows[number + 1], of: file) : nil
            do throws(RayStoreError) {
                try await runBlocking(on: threads) { () throws(RayStoreError) in try Self.give(window, buffer, to: take) }
            } catch {
                await packedRoom.give(window.size)
                if let coming {
                    _ = await coming.value
                    await packedRoom.give(windows[number + 1].size)
                }
                throw error
            }
            await packedRoom.give(window.size)
        }
    }

    private typealias Reading = Task<Result<BlockBuffer, RayStoreError>, Never>

    private func read(_ reading: Reading, _ window: PackedWindow) async throws(RayStoreError) -> BlockBuffer {
        let outcome = await reading.value
        if case .failure = outcome { await packedRoom.give(window.size) }
        return try outcome.get()
    }

    /// Takes room, which whoever awaits the end gives back.
    private func begin(_ window: PackedWindow, of file: String) -> Reading {
        let (storage, room) = (storage, packedRoom)
        return Task {
            await room.take(window.size)
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
