// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// Answers the engine's questions from the store and the catalog.
final class Finder: Sendable {
    let store: NodeStore
    let catalog: Catalog
    /// What can be read on the engine's threads; nil: nothing.
    private let storage: (any DirectStorage)?
    private let kept = KeptBlocks()

    init(store: NodeStore, catalog: Catalog, storage: (any DirectStorage)?) {
        self.store = store
        self.catalog = catalog
        self.storage = storage
    }

    func find(_ id: ObjectID, _ answer: OpaquePointer) -> ray_status {
        // Before it is looked what is here, so that whoever loses its last holder meanwhile is found to wait for another.
        let holders = catalog.holders(of: id)
        var isHere = true
        var absence: RayStoreError?
        if let file = catalog.file(id) {
            ray_answer_file(
                answer, file.path, file.size, file.modifiedNanoseconds, file.metadata, file.metadata.count,
                file.descriptor, file.descriptor.count)
        } else {
            let entry = store.entry(of: id)
            switch entry?.state {
            case .sealed:
                ray_answer_object(answer)
            case .creating where !canOfferRecord(of: id):
                isHere = false
                absence = RayStoreError(.notSealed, "object \(id) is not sealed yet", object: id)
            case .failed:
                isHere = false
                absence = RayStoreError(entry!.failure, "object \(id): \(entry!.failure.text)", object: id)
            default:
                isHere = offerRecord(of: id, answer) || offerMoved(id, answer)
                let isMoved = catalog.moved[id] != nil && holders.isEmpty
                absence = isHere ? nil : isMoved ? catalog.moved.answerWanted(id) : missing(id)
            }
        }
        for holder in holders {
            ray_answer_holder(answer, holder.host, holder.port)
        }
        if isHere || !holders.isEmpty { return .ok }
        let reason = absence ?? catalog.absence(of: id)
        ray_answer_message(answer, reason.message)
        return ray_status(rawValue: reason.code.rawValue)
    }

    /// What was spilled to a file of this machine is sent from there, what was spilled elsewhere or packed is read chunk by chunk.
    private func offerRecord(of id: ObjectID, _ answer: OpaquePointer) -> Bool {
        guard let record = catalog.spilled.record(of: id) else { return false }
        // Without its file a record is looked at by who restores it, and says what is wrong: others may have a copy.
        if let path = record.path, access(path, F_OK) != 0 { return false }
        guard let path = record.path, !record.isPacked else { return offerRead(record, of: id, answer) }
        path.withCString { path in
            record.blockSums.withUnsafeBufferPointer { sums in
                var spilled = ray_spilled(
                    struct_size: UInt32(MemoryLayout<ray_spilled>.size), path: path, offset: record.location.offset,
                    owner_size: record.ownerSize + record.announcedSize, metadata_size: record.metadataSize,
                    data_size: record.dataSize, metadata_checksum: record.metadataChecksum, sums: sums.baseAddress)
                ray_answer_spilled(answer, &spilled)
            }
        }
        return true
    }

    private func canOfferRecord(of id: ObjectID) -> Bool {
        guard let record = catalog.spilled.record(of: id) else { return false }
        return (record.path != nil && !record.isPacked) || (storage != nil && record.metadata != nil)
    }

    private func offerRead(_ record: SpillRecord, of id: ObjectID, _ answer: OpaquePointer) -> Bool {
        guard let storage, let metadata = record.metadata else { return false }
        let index = catalog.spilled
        let source = RecordSource(id, [record], in: storage, keeping: kept) { record, failure in
            // It may be in the store, or gone with the object, since: whoever asks again is told.
            guard index.record(of: id) == record, let damage = record.location.damage(to: id, failure) else {
                return RayStoreError(.notLocal, "object \(id) cannot be read now: \(failure.message)", object: id)
            }
            _ = index.noteDamage(of: id, record, damage)
            return damage
        }
        offer(source, as: UInt32(RAY_KIND_OBJECT), metadata: metadata, descriptor: [], answer)
        return true
    }

    /// A file that lies in the storage.
    private func offerMoved(_ id: ObjectID, _ answer: OpaquePointer) -> Bool {
        // Damaged there, it is sent by others, if there are any.
        if catalog.moved.isDamaged(id), !catalog.holders(of: id).isEmpty { return false }
        guard let storage, let file = catalog.moved[id], let descriptor = try? file.descriptor.encoded() else { return false }
        offer(
            catalog.moved.source(of: file, as: id, in: storage), as: UInt32(RAY_KIND_FILE), metadata: file.metadata,
            descriptor: descriptor, answer)
        return true
    }

    private func offer(
        _ source: RecordSource, as kind: UInt32, metadata: [UInt8], descriptor: [UInt8], _ answer: OpaquePointer
    ) {
        metadata.withUnsafeBytes { metadata in
            descriptor.withUnsafeBytes { descriptor in
                var told = ray_source(
                    struct_size: UInt32(MemoryLayout<ray_source>.size), kind: kind, size_bytes: source.size,
                    metadata: metadata.baseAddress, descriptor: descriptor.baseAddress, metadata_size: UInt32(metadata.count),
                    descriptor_size: UInt32(descriptor.count), context: Unmanaged.passRetained(source).toOpaque(),
                    read: { Finder.read($0, $1, $2, $3, $4, $5) },
                    release: { Unmanaged<RecordSource>.fromOpaque($0!).release() })
                ray_answer_source(answer, &told)
            }
        }
    }

    /// Why there is no copy to send now, here or elsewhere.
    private func missing(_ id: ObjectID) -> RayStoreError? {
        let reason = spilled(id)
        // Without its file a record cannot be brought back, though that may be found only when there is room to try.
        let isGone = catalog.spilled.record(of: id)?.path.map { access($0, F_OK) != 0 } ?? false
        if let reason, !isGone, Ownership.mayPass(reason.code) { return reason }
        return catalog.wait(for: id) ?? reason
    }

    /// A record was found damaged while it was sent. The next get knows at once, and has another copy if there is one.
    func noteDamage(to id: ObjectID, _ path: String, _ dataOffset: UInt64, _ failure: RayStoreError) {
        // It may have been spilled anew since.
        guard let record = catalog.spilled.record(of: id), record.path == path, record.dataOffset == dataOffset,
            let damage = record.location.damage(to: id, failure)
        else { return }
        _ = catalog.spilled.noteDamage(of: id, record, damage)
    }

    /// Why a spilled object cannot be sent yet, or never. It is brought back meanwhile, and the receiver asks again.
    private func spilled(_ id: ObjectID) -> RayStoreError? {
        let index = catalog.spilled
        if let damage = index.damage(of: id) { return damage }
        guard index.record(of: id) != nil else { return nil }
        catalog.noteWanted(id)
        return RayStoreError(.notLocal, "object \(id) is spilled, and being brought back", object: id)
    }

    private static func read(
        _ context: UnsafeMutableRawPointer?, _ offset: UInt64, _ bytes: UnsafeMutableRawPointer, _ size: Int,
        _ message: UnsafeMutablePointer<CChar>, _ capacity: Int
    ) -> ray_status {
        let source = Unmanaged<RecordSource>.fromOpaque(context!).takeUnretainedValue()
        do throws(RayStoreError) {
            try source.read(from: offset, into: UnsafeMutableRawBufferPointer(start: bytes, count: size))
            return .ok
        } catch {
            let text = error.message.utf8.prefix(capacity - 1)
            for (place, byte) in text.enumerated() { message[place] = CChar(bitPattern: byte) }
            message[text.count] = 0
            return ray_status(rawValue: error.code.rawValue)
        }
    }
}
