// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// The checksums of this node's files, kept in the catalogue by what a file is recognised by, so that a later life of the node, or another object
/// of the same file, need not compute them again.
///
/// They only save work: what is not kept, or cannot be read, is computed again.
final class FileSums: Sendable {
    /// Smaller files travel without checksums of chunks.
    private static let sizeMin = UInt64(RAY_INLINE_MAX)

    private let transfer: BulkTransfer
    private let files: FileStore

    init(transfer: BulkTransfer, files: FileStore) {
        self.transfer = transfer
        self.files = files
    }

    /// A file is about to be served as an object: its checksums are known because it was verified on its way here, or because the same file was an object before;
    /// else they are computed when the machine has nothing else to do. Blocks.
    func noteArrival(of id: ObjectID, _ descriptor: FileDescriptor) {
        guard descriptor.size > Self.sizeMin else { return }
        if descriptor.origin != .reference { transfer.notePlaced(id, descriptor.path) }
        if descriptor.origin == .pulled, keep(id, descriptor) { return }
        for identity in [Self.identity(of: descriptor.path), descriptor.sourceIdentity] {
            guard let identity, let sums = try? files.sums(of: identity) else { continue }
            if transfer.give(sums, of: id, at: descriptor.path) { return }
        }
        transfer.sumAhead(id, descriptor.path)
    }

    /// Keeps what is known of a file, if that is all. Blocks.
    ///
    /// - Returns: whether it is.
    @discardableResult
    func keep(_ id: ObjectID, _ descriptor: FileDescriptor) -> Bool {
        guard let (identity, sums) = transfer.sums(of: id, at: descriptor.path, size: descriptor.size) else { return false }
        for identity in [identity, descriptor.sourceIdentity] {
            if let identity { try? files.keep(sums, of: identity) }
        }
        return true
    }

    /// A file has been removed: on return nobody keeps it open to compute its checksums, and its room is the disk's again.
    func noteRemoval(of id: ObjectID) {
        transfer.forget(id)
    }

    /// What a file's contents are recognised by; nil when its times cannot tell it from what it may be next, or there is none.
    static func identity(of path: String) -> UInt64? {
        var identity: UInt64 = 0
        return ray_file_identity(path, &identity) == .ok ? identity : nil
    }
}
