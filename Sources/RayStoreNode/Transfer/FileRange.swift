// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// A part that is pulled into a new file, through a mapping of it: it takes no memory that the kernel cannot take back.
///
/// @unchecked: the engine calls `open` and `end` one after the other, and nobody else touches the rest.
final class FileRange: RangeSink, @unchecked Sendable {
    let wanted: ByteRange
    private let path: String
    private let place: @Sendable () -> RayStoreError?
    private var failure: RayStoreError?
    private var isMade = false
    private var mapping: UnsafeMutableRawPointer?
    private var size = 0

    /// - Parameter place: gives the complete file its place; answers why it could not.
    init(_ wanted: ByteRange, at path: String, place: @escaping @Sendable () -> RayStoreError?) {
        self.wanted = wanted
        self.path = path
        self.place = place
    }

    func open(_ pull: OpaquePointer, _ card: ray_card) -> ray_status {
        size = Int(wanted.count(of: card.size_bytes))
        do throws(RayStoreError) {
            try make()
        } catch {
            failure = error
            return ray_status(rawValue: error.code.rawValue)
        }
        return ray_pull_into_memory(pull, mapping, size)
    }

    func end(with failure: RayStoreError?) -> RayStoreError? {
        if let mapping { munmap(mapping, size) }
        var failure = self.failure ?? failure
        if isMade, failure == nil { failure = place() }
        if isMade, failure != nil { unlink(path) }
        return failure
    }

    /// The room is taken before the first byte comes: a mapping of a full disk would be a signal later.
    private func make() throws(RayStoreError) {
        let file = Self.openNew(path)
        guard file >= 0 else { throw error("cannot make the file \(path)", errno) }
        defer { close(file) }
        isMade = true
        guard size > 0 else { return }
        let status = posix_fallocate(file, 0, off_t(size))
        guard status == 0 else { throw error("no room for \(size) bytes in \(path)", status) }
        let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
        guard let mapped, mapped != MAP_FAILED else { throw error("\(path) cannot be mapped", errno) }
        mapping = mapped
    }

    private static func openNew(_ path: String) -> Int32 {
        #if canImport(Musl)
            Musl.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        #else
            Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        #endif
    }

    private func error(_ what: String, _ number: Int32) -> RayStoreError {
        let code: RayStoreError.Code = number == ENOSPC || number == EDQUOT || number == EFBIG ? .outOfDisk : .system
        return RayStoreError(code, "\(what): \(String(cString: strerror(number)))", systemErrno: number)
    }
}
