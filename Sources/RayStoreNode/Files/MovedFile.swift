// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

/// A file that lies in the node's external storage instead of on its disk.
struct MovedFile: Sendable {
    let descriptor: FileDescriptor
    let metadata: [UInt8]
    /// Its bytes in order, each part a storage file of its own.
    let parts: [SpillRecord]

    /// As the catalogue keeps it.
    static func text(_ parts: [SpillRecord]) -> String {
        parts.map(\.location.text).joined(separator: "\n")
    }
}

/// The moved files of a node, for those who ask synchronously.
final class MovedFiles: Sendable {
    private struct Contents {
        var files: [ObjectID: MovedFile] = [:]
        /// Told of a file that another node asks for; nil when the node has no mover.
        var wanted: (@Sendable (ObjectID) -> Void)?
        /// Files whose parts are not what was moved.
        var damaged: Set<ObjectID> = []
        /// Why a file could not be brought back for another node, until that hears of it.
        var failures: [ObjectID: RayStoreError] = [:]
        var movedCount: UInt64 = 0
        var returnCount: UInt64 = 0
    }

    private let contents = Mutex(Contents())
    private let kept = KeptBlocks()

    subscript(id: ObjectID) -> MovedFile? {
        contents.withLock { $0.files[id] }
    }

    func add(_ file: MovedFile, as id: ObjectID) {
        contents.withLock { contents in
            contents.files[id] = file
            contents.damaged.remove(id)
            contents.movedCount += 1
        }
    }

    @discardableResult
    func remove(_ id: ObjectID) -> MovedFile? {
        contents.withLock { contents in
            contents.failures[id] = nil
            contents.damaged.remove(id)
            return contents.files.removeValue(forKey: id)
        }
    }

    /// It is on the disk again, unless it has been moved once more since.
    func noteReturn(of file: MovedFile, as id: ObjectID) {
        contents.withLock { contents in
            contents.returnCount += 1
            guard contents.files[id]?.parts == file.parts else { return }
            contents.files[id] = nil
            contents.failures[id] = nil
            contents.damaged.remove(id)
        }
    }

    /// What lies in the storage is not the file: whoever has another copy is asked from now on.
    func noteDamage(to file: MovedFile, of id: ObjectID) {
        noteDamage(of: id, file.parts)
    }

    private func noteDamage(of id: ObjectID, _ parts: [SpillRecord]) {
        contents.withLock { contents in
            if contents.files[id]?.parts == parts { contents.damaged.insert(id) }
        }
    }

    func isDamaged(_ id: ObjectID) -> Bool {
        contents.withLock { $0.damaged.contains(id) }
    }

    /// The file's bytes from where they lie.
    func source(of file: MovedFile, as id: ObjectID, in storage: any DirectStorage) -> RecordSource {
        RecordSource(id, file.parts, in: storage, keeping: kept) { [weak self] part, failure in
            let place = part.location.text
            if failure.code == .corrupt || failure.code == .fileNotFound { self?.noteDamage(of: id, file.parts) }
            switch failure.code {
            case _ where self?[id]?.parts != file.parts:
                return RayStoreError(.notLocal, "the file of object \(id) is not at \(place) any more", object: id)
            case .corrupt:
                return RayStoreError(
                    .corrupt,
                    "the file of object \(id) was moved to \(place), and what is there is not it: \(failure.message)", object: id)
            case .fileNotFound:
                return RayStoreError(
                    .objectLost, "the file of object \(id) was moved to \(place), which is gone: \(failure.message)", object: id)
            default:
                return RayStoreError(
                    .notLocal, "the file of object \(id) is at \(place), which cannot be read now: \(failure.message)",
                    systemErrno: failure.systemErrno, object: id)
            }
        }
    }

    func onWanted(_ body: @escaping @Sendable (ObjectID) -> Void) {
        contents.withLock { $0.wanted = body }
    }

    /// Another node asks for a file that has to be brought back first.
    ///
    /// - Returns: what to answer meanwhile.
    func answerWanted(_ id: ObjectID) -> RayStoreError {
        let (failure, wanted) = contents.withLock { ($0.failures.removeValue(forKey: id), $0.wanted) }
        if let failure { return failure }
        wanted?(id)
        return RayStoreError(.notLocal, "the file of object \(id) is being brought back from the storage", object: id)
    }

    func noteFailure(_ failure: RayStoreError, of id: ObjectID) {
        contents.withLock { contents in
            if contents.files[id] != nil { contents.failures[id] = failure }
        }
    }

    /// What lies in the storage now, and how often files went there and came back since the node's start.
    var counts: (files: Int, bytes: UInt64, moved: UInt64, returned: UInt64) {
        contents.withLock { contents in
            (
                contents.files.count, contents.files.values.reduce(0) { $0 + $1.descriptor.size }, contents.movedCount,
                contents.returnCount
            )
        }
    }
}
