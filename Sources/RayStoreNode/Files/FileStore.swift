// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// The node's files: copies it made, files it took over, and what it pulled from other nodes.
///
/// A file object's file lies at `jobs/<job>/files/<object id>/<original name>` under the state directory and appears there by rename
/// when it is complete. Every call blocks on the disk: run it on a blocking thread.
final class FileStore: Sendable {
    /// How a file came to be an object.
    enum Origin: String, Sendable {
        case copy, adopted, pulled
        /// Not the store's: never changed, never deleted.
        case reference

        /// The same as the clients' interface names it (`RAY_FILE_*`); what was pulled is a copy.
        var mode: UInt32 {
            switch self {
            case .copy, .pulled: UInt32(RAY_FILE_COPY)
            case .adopted: UInt32(RAY_FILE_ADOPT)
            case .reference: UInt32(RAY_FILE_REFERENCE)
            }
        }
    }

    let root: String
    private let catalogue: FileCatalogue
    /// What had come in part.
    let left: LeftPartials
    /// Held while folders are made or removed: an empty folder that one object leaves may be the one that the next is about to use.
    private let folders = Mutex(())

    /// Opens the files of a state directory and clears away what an earlier node of it left behind, but for what pulls can go on with.
    init(root: String) throws(RayStoreError) {
        self.root = root
        try Self.makeDirectory(root + "/partial")
        try Self.makeDirectory(root + "/jobs")
        catalogue = try FileCatalogue(path: root + "/files.sqlite")
        try Self.sweep(root: root, catalogue)
        left = try LeftPartials(folder: root + "/partial")
    }

    /// Lets go of the catalogue. Blocks.
    func close() {
        catalogue.close()
    }

    /// Where a pull of this object fills its file.
    func partialPath(_ id: ObjectID) -> String {
        "\(root)/partial/\(id)"
    }

    /// How large the file is that is to be an object's.
    func size(of path: String, for id: ObjectID) throws(RayStoreError) -> UInt64 {
        var info = ray_file_info()
        try RayStoreError.check(object: id) { ray_file_look(path, &info).rawValue }
        return info.size_bytes
    }

    /// Makes a file an object's: by copying it, taking it over, or only noting where it is.
    ///
    /// - Parameter hasRoom: false when none was reserved: then only what takes none is done, a reflink or a move, else `outOfDisk`.
    func take(_ path: String, as origin: Origin, for id: ObjectID, hasRoom: Bool) throws(RayStoreError) -> FileDescriptor {
        let reserve: UInt64 = hasRoom ? 0 : .max
        var info = ray_file_info()
        try RayStoreError.check(object: id) { ray_file_look(path, &info).rawValue }
        let name = Self.baseName(path)
        let partial = partialPath(id)
        switch origin {
        case .reference:
            return FileDescriptor(info, name: name, path: path, origin: origin)
        case .copy:
            defer { _ = ray_file_remove(partial) }
            let source = FileSums.identity(of: path)
            try RayStoreError.check(object: id) { ray_file_copy(path, partial, reserve, &info).rawValue }
            let isSame = source == FileSums.identity(of: path)
            var copy = try finish(partial, name: name, info: info, origin: origin, id: id, reserve: 0)
            copy.sourceIdentity = isSame ? source : nil
            return copy
        case .adopted:
            // Adopted straight into its place: a file that was half taken would be lost to its owner.
            return try finish(path, name: name, info: info, origin: origin, id: id, reserve: reserve)
        case .pulled:
            throw RayStoreError(.invalidArgument, "a pulled file is placed, not taken", object: id)
        }
    }

    /// Removes what a pull that failed has left of this object's file.
    func discardPartial(_ id: ObjectID) {
        // What is left behind after a failure here goes when the node starts again.
        _ = ray_pull_discard(partialPath(id))
    }

    func removePartial(_ id: ObjectID) {
        _ = ray_file_remove(partialPath(id))
    }

    /// Gives a complete file that was pulled, or brought back, its place.
    func place(_ id: ObjectID, like descriptor: FileDescriptor, as origin: Origin) throws(RayStoreError) -> FileDescriptor {
        let partial = partialPath(id)
        do throws(RayStoreError) {
            var info = descriptor.info
            try RayStoreError.check(object: id) { ray_file_dress(partial, &info).rawValue }
            return try finish(partial, name: descriptor.name, info: info, origin: origin, id: id, reserve: 0)
        } catch {
            _ = ray_file_remove(partial)
            throw error
        }
    }

    /// Removes the object's file, and its folders when nothing else is in them.
    func remove(_ descriptor: FileDescriptor, of id: ObjectID) throws(RayStoreError) {
        guard descriptor.origin != .reference else { return }
        try removeFile(descriptor, of: id)
        try catalogue.remove(id)
    }

    private func removeFile(_ descriptor: FileDescriptor, of id: ObjectID) throws(RayStoreError) {
        try RayStoreError.check(object: id) { ray_file_remove(descriptor.path).rawValue }
        let folder = Self.parent(descriptor.path)
        // The object's folder, then files/ and the job's, unless another object is there.
        folders.withLock { _ in
            for folder in [folder, Self.parent(folder), Self.parent(Self.parent(folder))] {
                guard ray_directory_remove_empty(folder) else { break }
            }
        }
    }

    /// Removes the object's file; the catalogue says where its bytes are from now on.
    func remove(_ descriptor: FileDescriptor, of id: ObjectID, movedTo place: String) throws(RayStoreError) {
        // A disk that is quite full may take the note only when the file is gone.
        let isNoted = (try? catalogue.setMoved(id, to: place)) != nil
        try removeFile(descriptor, of: id)
        if !isNoted { try catalogue.setMoved(id, to: place) }
    }

    func keep(_ sums: [UInt64], of identity: UInt64) throws(RayStoreError) {
        try catalogue.keep(sums, of: identity)
    }

    func sums(of identity: UInt64) throws(RayStoreError) -> [UInt64]? {
        try catalogue.sums(of: identity)
    }

    /// The object has ended while its bytes were elsewhere.
    func forget(_ id: ObjectID) throws(RayStoreError) {
        try catalogue.remove(id)
    }

    func setDetached(_ id: ObjectID, _ isDetached: Bool) throws(RayStoreError) {
        try catalogue.setDetached(id, isDetached)
    }

    private func finish(
        _ source: String, name: String, info: ray_file_info, origin: Origin, id: ObjectID, reserve: UInt64
    ) throws(RayStoreError) -> FileDescriptor {
        let folder = "\(root)/jobs/\(id.job)/files/\(id)"
        let path = folder + "/" + name
        do throws(RayStoreError) {
            try folders.withLock { _ throws(RayStoreError) in try Self.makeDirectory(folder) }
            try catalogue.add(
                FileCatalogue.Row(object: id.description, path: path, origin: origin.rawValue, isDetached: false))
            try RayStoreError.check(object: id) { ray_file_move(source, path, reserve).rawValue }
        } catch {
            if origin != .adopted { _ = ray_file_remove(source) }
            _ = ray_directory_remove_empty(folder)
            try? catalogue.remove(id)
            throw error
        }
        try RayStoreError.check(object: id) { ray_file_protect(path).rawValue }
        return FileDescriptor(info, name: name, path: path, origin: origin)
    }

    /// What an earlier life of this node left: its objects are gone, so copies nobody owns are removed. Files that people gave away (adopted)
    /// or meant to keep (detached) are moved to `recovered/` instead: they may be the only ones. What was
    /// moved to the storage is in the list of what was spilled, and goes with it.
    private static func sweep(root: String, _ catalogue: FileCatalogue) throws(RayStoreError) {
        for row in try catalogue.all() {
            if row.isDetached || row.origin == Origin.adopted.rawValue {
                let folder = "\(root)/recovered/\(row.object)"
                try makeDirectory(folder)
                let status = ray_file_move(row.path, folder + "/" + baseName(row.path), 0)
                if status != .ok && status != .fileNotFound && status != .exists {
                    throw RayStoreError(status: status.rawValue)
                }
            } else {
                try RayStoreError.check { ray_file_remove(row.path).rawValue }
            }
        }
        // Files were listed before they were made, so what the folders still hold can only be partial.
        try RayStoreError.check { ray_directory_clear(root + "/jobs").rawValue }
        try catalogue.removeAll()
    }

    private static func makeDirectory(_ path: String) throws(RayStoreError) {
        try RayStoreError.check { ray_directory_make_private(path).rawValue }
    }

    static func baseName(_ path: String) -> String {
        path.split(separator: "/", omittingEmptySubsequences: true).last.map(String.init) ?? "file"
    }

    private static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return String(path[..<slash])
    }
}
