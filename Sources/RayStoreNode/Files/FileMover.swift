// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Logging
internal import RayStore
internal import Synchronization

/// Moves files that this node owns to its external storage and brings them back.
///
/// A file goes in parts, each a storage file with one record, so that no more than one part is in memory at a time; the checksum of each part is
/// kept and verified when it comes back. The order: the parts are written, the list of what was spilled and
/// the catalogue say so, the object's value is given up, the file on
/// the disk goes. A kill in between leaves what the next start removes.
actor FileMover {
    static let partBytes: UInt64 = 32 << 20

    private let storage: any ExternalStorage
    private let files: FileKeeper
    private let moved: MovedFiles
    /// Knows each part from before anything relies on it until it is gone, so that the node's next life removes what this one could not.
    private let manifest: SpillManifest?
    private let log: Logger
    private let isReady: @Sendable () async -> Void
    /// In the name of each part: ids come again in another cluster, and what an earlier life moved may be on its way out all through this one.
    private let life: Substring
    private var serial: UInt64 = 0
    private var deletions: [UInt64: Task<Void, Never>] = [:]

    /// - Parameters:
    ///   - life: the node's, which no other has.
    ///   - isReady: returns when nobody sweeps the storage any more.
    init(
        storage: any ExternalStorage, files: FileKeeper, moved: MovedFiles, manifest: SpillManifest?, life: NodeID,
        log: Logger,
        isReady: @escaping @Sendable () async -> Void = {}
    ) {
        self.isReady = isReady
        self.life = life.description.prefix(16)
        self.storage = storage
        self.files = files
        self.moved = moved
        self.manifest = manifest
        self.log = log
    }

    /// Returns when nothing is being deleted any more.
    func awaitDeletions() async {
        for deletion in Array(deletions.values) { await deletion.value }
    }

    // MARK: Out

    /// Writes a file's bytes to the storage. Nothing else changes yet: `commit` or `abandon` what comes back.
    func copy(_ id: ObjectID) async throws(RayStoreError) -> MovedFile {
        await isReady()
        guard let descriptor = files.descriptor(of: id) else {
            throw RayStoreError(.notLocal, "the file of object \(id) is not here", object: id)
        }
        serial += 1
        var parts: [SpillRecord] = []
        do throws(RayStoreError) {
            for number in 0..<Self.partCount(of: descriptor.size) {
                let name = "\(id)-file-\(life)-\(serial)-\(number)"
                parts.append(try await copyPart(number, of: descriptor, as: id, name: name))
            }
        } catch {
            delete(parts.map(\.location.file))
            throw error
        }
        return MovedFile(descriptor: descriptor, metadata: FileDescriptor.metadata, parts: parts)
    }

    private static func partCount(of size: UInt64) -> Int {
        Int((size + partBytes - 1) / partBytes)
    }

    private func copyPart(
        _ number: Int, of descriptor: FileDescriptor, as id: ObjectID, name: String
    ) async throws(RayStoreError) -> SpillRecord {
        let buffer = PartBuffer(count: Int(min(Self.partBytes, descriptor.size - UInt64(number) * Self.partBytes)))
        let layout = try await runBlocking { () throws(RayStoreError) in
            var count = 0
            let offset = UInt64(number) * Self.partBytes
            try RayStoreError.check(object: id) {
                ray_file_read(descriptor.path, offset, buffer.bytes.baseAddress!, buffer.bytes.count, &count).rawValue
            }
            guard count == buffer.bytes.count else {
                throw RayStoreError(.sourceChanged, "\(descriptor.path) became shorter while it was moved", object: id)
            }
            let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
            return try SpillLayout([.init(id: id, owner: nothing, metadata: nothing, data: UnsafeRawBufferPointer(buffer.bytes))])
        }
        let batch = layout.batch
        let written = try await storage.spill(
            SpillBatch(name: name, recordSizes: batch.recordSizes, parts: batch.parts(ofFirst: batch.recordCount)))
        withExtendedLifetime((layout, buffer)) {}
        guard written.recordCount == 1 else {
            delete([written.url])
            throw RayStoreError(.system, "the storage \(storage.typeName) took no part of \(descriptor.path)", object: id)
        }
        try await enter(written.url, bytes: batch.byteCount)
        return layout.record(0, in: written.url, path: storage.localPath(of: written.url))
    }

    private func enter(_ url: String, bytes: UInt64) async throws(RayStoreError) {
        let row = SpillManifest.File(
            url: url, storage: storage.service, bytes: Int64(clamping: bytes), count: 1, session: String(life), isEnding: false)
        let manifest = manifest
        do throws(RayStoreError) {
            try await runBlocking { () throws(RayStoreError) in try manifest?.add(row) }
        } catch {
            delete([url])
            throw error
        }
    }

    /// The value is given up: the file lies in the storage from now on. Returns when it is gone from the disk.
    func commit(_ file: MovedFile, as id: ObjectID) async {
        await files.drop(id, movedTo: MovedFile.text(file.parts))
    }

    /// It stays where it is.
    func abandon(_ file: MovedFile) {
        delete(file.parts.map(\.location.file))
    }

    // MARK: Back

    /// Brings a file back to the disk, and its value to the store. One call at a time for an object.
    ///
    /// - Throws: `outOfDisk`; `corrupt` and `objectLost` naming the storage file; what the storage answered.
    func restore(_ id: ObjectID) async throws(RayStoreError) {
        if let file = moved[id] { try await bringBack(file, as: id) }
    }

    /// It has come from another node instead: what lies in the storage is not needed.
    func noteCopy(of id: ObjectID) {
        guard let file = moved[id] else { return }
        moved.noteReturn(of: file, as: id)
        delete(file.parts.map(\.location.file))
    }

    private func bringBack(_ file: MovedFile, as id: ObjectID) async throws(RayStoreError) {
        let admission = DiskAdmission(id, in: files.room)
        defer { admission.end() }
        while true {
            do throws(RayStoreError) {
                if let refusal = admission.open(file.descriptor.size) { throw refusal }
                try await fill(file, as: id)
                break
            } catch {
                await files.removePartial(id)
                if error.code == .corrupt || error.code == .objectLost { moved.noteDamage(to: file, of: id) }
                guard error.code == .outOfDisk else { throw error }
                try await admission.await(after: error)
            }
        }
        try await files.placeRestored(id, file)
        moved.noteReturn(of: file, as: id)
        delete(file.parts.map(\.location.file))
    }

    private func fill(_ file: MovedFile, as id: ObjectID) async throws(RayStoreError) {
        let target = try await files.makePartial(id)
        for (number, part) in file.parts.enumerated() {
            let offset = UInt64(number) * Self.partBytes
            let buffer = PartBuffer(count: Int(min(Self.partBytes, file.descriptor.size - offset)))
            do throws(RayStoreError) {
                try await read(part, of: id, into: buffer)
            } catch {
                guard part.isWorthAnotherRead(after: error) else { throw error }
                try await read(part, of: id, into: buffer)
            }
            try await runBlocking { () throws(RayStoreError) in
                try target.write(UnsafeRawBufferPointer(buffer.bytes), at: offset)
            }
        }
    }

    private func read(_ part: SpillRecord, of id: ObjectID, into buffer: PartBuffer) async throws(RayStoreError) {
        do throws(RayStoreError) {
            try await storage.restore(
                part.location.file, from: part.dataOffset, into: SpillMemory(unsafePieces: [buffer.bytes]))
        } catch {
            guard error.code == .fileNotFound || error.code == .corrupt else { throw error }
            throw RayStoreError(
                .objectLost,
                "the file of object \(id) was moved to \(part.location.text), which is gone or cut: \(error.message)",
                object: id)
        }
        try await runBlocking { () throws(RayStoreError) in
            guard ray_spill_matches(buffer.bytes.baseAddress!, UInt64(buffer.bytes.count), part.location.checksum ?? 0) else {
                throw RayStoreError(
                    .corrupt, "the file of object \(id) was moved to \(part.location.text), and what is there is not it",
                    object: id)
            }
        }
    }

    // MARK: In parts

    /// Reads a part of a moved file into an object of its own, without bringing the file back.
    ///
    /// - Returns: the part's size; nil when the file has to be brought back for it: it is not in the storage any more, or that cannot be read so.
    /// - Throws: `storeFull`; `corrupt` and `objectLost` naming the storage file; `notLocal` for what may pass.
    func read(_ range: ByteRange, of id: ObjectID, by room: StoreAdmission, in store: NodeStore) async throws(RayStoreError)
        -> UInt64?
    {
        guard let file = moved[id], let storage = storage as? any DirectStorage else { return nil }
        let source = moved.source(of: file, as: id, in: storage)
        let size = range.count(of: source.size)
        try await runBlocking(on: .slow) { () throws(RayStoreError) in
            var writer = ray_object_writer()
            try RayStoreError.check(object: id) {
                room.create(dataSize: size, metadataSize: UInt32(file.metadata.count), &writer).rawValue
            }
            do throws(RayStoreError) {
                UnsafeMutableRawBufferPointer(start: writer.metadata, count: file.metadata.count).copyBytes(from: file.metadata)
                try source.read(
                    from: min(range.offset, source.size),
                    into: UnsafeMutableRawBufferPointer(start: writer.data, count: Int(size)))
            } catch {
                ray_object_abort(store.handle, &writer)
                throw error
            }
            try RayStoreError.check(object: id) { ray_object_seal(store.handle, &writer).rawValue }
        }
        return size
    }

    // MARK: The end

    /// The object has ended.
    func forget(_ id: ObjectID) {
        guard let file = moved.remove(id) else { return }
        delete(file.parts.map(\.location.file))
        files.forgetMoved(id)
    }

    private func delete(_ files: [String]) {
        guard !files.isEmpty else { return }
        serial += 1
        let number = serial
        deletions[number] = Task {
            for file in files {
                do throws(RayStoreError) {
                    try await storage.delete(file)
                    let (manifest, service) = (manifest, storage.service)
                    try await runBlocking { () throws(RayStoreError) in try manifest?.removeFile(file, of: service) }
                } catch {
                    log.warning(
                        "a moved file is still in the storage", metadata: ["file": "\(file)", "reason": "\(error.message)"])
                }
            }
            deletions[number] = nil
        }
    }
}

/// Memory of a part, not zeroed.
///
/// `@unchecked Sendable`: one task at a time has it.
private final class PartBuffer: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    init(count: Int) {
        bytes = .allocate(byteCount: count, alignment: 64)
    }

    deinit {
        bytes.deallocate()
    }
}
