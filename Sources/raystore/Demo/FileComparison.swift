// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore

enum FileComparison {
    /// Reads both files to their ends. Answers where they first differ, to within a block; nil when they are the same.
    static func firstDifference(_ a: String, _ b: String, isCancelled: CancelFlag) throws(RayStoreError) -> Int? {
        let first = try opened(a)
        defer { close(first) }
        let second = try opened(b)
        defer { close(second) }
        let size = 1 << 20
        let rooms = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * size, alignment: 4096)
        defer { rooms.deallocate() }
        var offset = 0
        while true {
            try isCancelled.check()
            let one = try fill(UnsafeMutableRawBufferPointer(rebasing: rooms[..<size]), from: first, a)
            let other = try fill(UnsafeMutableRawBufferPointer(rebasing: rooms[size...]), from: second, b)
            guard one == other, memcmp(rooms.baseAddress!, rooms.baseAddress! + size, one) == 0 else { return offset }
            if one < size { return nil }
            offset += one
        }
    }

    private static func opened(_ path: String) throws(RayStoreError) -> Int32 {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        return descriptor
    }

    /// Fewer bytes than there is room for only at the end.
    private static func fill(
        _ room: UnsafeMutableRawBufferPointer, from descriptor: Int32, _ path: String
    ) throws(RayStoreError) -> Int {
        var done = 0
        while done < room.count {
            let count = read(descriptor, room.baseAddress! + done, room.count - done)
            if count == 0 { break }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(path) }
            done += count
        }
        return done
    }

    private static func failure(_ path: String) -> RayStoreError {
        let number = errno
        return RayStoreError(
            .fileNotReadable, "\(path) cannot be read: \(String(cString: strerror(number)))", systemErrno: number)
    }
}
