// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import Synchronization

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// Where a node's bulk port is.
struct BulkEndpoint: Hashable, Sendable {
    let host: String
    let port: UInt16
}

/// What this node can serve beyond what lies in its store: files, and where else an object is.
///
/// The transfer engine's threads ask it synchronously, so it is a lock and not an actor; the actors that know write into it.
final class Catalog: Sendable {
    struct ServedFile: Sendable {
        var path: String
        var size: UInt64
        var modifiedNanoseconds: Int64
        var metadata: [UInt8]
        var descriptor: [UInt8]
    }

    private struct Contents {
        var files: [ObjectID: ServedFile] = [:]
        var holders: [ObjectID: [BulkEndpoint]] = [:]
        var waits: [ObjectID: PeerFailure] = [:]
        var ended: [ObjectID: PeerFailure] = [:]
        var endedInOrder: [ObjectID] = []
    }

    /// How many ended objects are remembered for the sake of a precise error.
    private static let endedCountMax = 16_384

    private let contents = Mutex(Contents())
    /// What this node has spilled.
    let spilled: SpillIndex
    /// Objects that other nodes ask for and that are spilled.
    let wanted: AsyncStream<ObjectID>
    private let wantedNext: AsyncStream<ObjectID>.Continuation
    /// Files whose checksums are all known now.
    let summed: AsyncStream<ObjectID>
    private let summedNext: AsyncStream<ObjectID>.Continuation

    init(spilled: SpillIndex = SpillIndex()) {
        self.spilled = spilled
        (wanted, wantedNext) = AsyncStream.makeStream()
        (summed, summedNext) = AsyncStream.makeStream()
    }

    /// Another node asks for an object that has to be brought back first.
    func noteWanted(_ id: ObjectID) {
        wantedNext.yield(id)
    }

    func noteSummed(_ id: ObjectID) {
        summedNext.yield(id)
    }

    /// Files of this node that lie in its storage.
    let moved = MovedFiles()

    func serve(_ file: ServedFile, as id: ObjectID) {
        contents.withLock { $0.files[id] = file }
    }

    func file(_ id: ObjectID) -> ServedFile? {
        contents.withLock { $0.files[id] }
    }

    func stopServing(_ id: ObjectID) {
        contents.withLock { contents in
            contents.files[id] = nil
            contents.holders[id] = nil
            contents.waits[id] = nil
        }
    }

    /// - Parameter wait: says that nobody has the object now and somebody may have it again; nil when somebody has it.
    func setHolders(_ endpoints: [BulkEndpoint], of id: ObjectID, wait: RayStoreError?) {
        // Both at once: without holders and without this an object counts as lost.
        contents.withLock { contents in
            contents.holders[id] = endpoints.isEmpty ? nil : endpoints
            contents.waits[id] = wait.map(PeerFailure.init)
        }
    }

    func holders(of id: ObjectID) -> [BulkEndpoint] {
        contents.withLock { $0.holders[id] ?? [] }
    }

    /// Why whoever wants the object has to wait for a holder, if that is so.
    func wait(for id: ObjectID) -> RayStoreError? {
        contents.withLock { $0.waits[id] }?.error
    }

    /// The same, unless what was spilled of it is where it should be, or it is a file that was moved: a record without its file cannot be brought back,
    /// though who tries finds that out only when there is room for it.
    func waitWithoutRecord(for id: ObjectID) -> RayStoreError? {
        guard let wait = wait(for: id), moved[id] == nil else { return nil }
        guard let record = spilled.record(of: id) else { return wait }
        guard let path = record.path, access(path, F_OK) != 0 else { return nil }
        return wait
    }

    /// Remembers why an object ended, so that a late question gets the right answer.
    func noteEnd(of id: ObjectID, _ failure: RayStoreError) {
        contents.withLock { contents in
            if contents.ended.updateValue(PeerFailure(failure), forKey: id) == nil {
                contents.endedInOrder.append(id)
            }
            if contents.endedInOrder.count > Self.endedCountMax {
                // Halves at once, so that the cost of moving the rest is paid rarely.
                for old in contents.endedInOrder.prefix(Self.endedCountMax / 2) { contents.ended[old] = nil }
                contents.endedInOrder.removeFirst(Self.endedCountMax / 2)
            }
        }
    }

    /// Why there is no such object here, as precisely as is known.
    func absence(of id: ObjectID) -> RayStoreError {
        if let failure = contents.withLock({ $0.ended[id] }) {
            return failure.error
        }
        return RayStoreError(
            .notFound, "no object \(id) is known to its owner: it was never put, or it ended when its last reference went",
            object: id)
    }
}
