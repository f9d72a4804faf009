// SPDX-License-Identifier: Apache-2.0
internal import RayStore

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// A file that is being filled, open for writing. Every call blocks.
final class PartialFile: Sendable {
    private let path: String
    private let descriptor: Int32

    init(path: String) throws(RayStoreError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        if descriptor < 0 { throw Self.failure(path, errno) }
    }

    deinit {
        close(descriptor)
    }

    /// - Throws: `outOfDisk`, `system` naming the file.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(RayStoreError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            if count <= 0 { throw Self.failure(path, errno) }
            done += count
        }
    }

    private static func failure(_ path: String, _ number: Int32) -> RayStoreError {
        RayStoreError(
            number == ENOSPC || number == EDQUOT ? .outOfDisk : .system,
            "\(path) cannot be written: \(String(cString: strerror(number)))", systemErrno: number)
    }
}
