// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Logging
internal import RayStore

/// What became of a read.
enum FetchedPart: Sendable {
    /// The object is here as a whole: the client reads it itself.
    case isHere
    /// Under an id of its own, whose ref bit the client has.
    case part(ObjectID, size: UInt64)

    /// As client.h lays it out.
    var answer: [UInt8] {
        var writer = PayloadWriter()
        switch self {
        case .isHere:
            writer.append(UInt32(RAY_READ_HERE))
            writer.append(UInt32(0))
            writer.append(UInt64(0))
            writer.append(raw: [UInt8](repeating: 0, count: 28))
        case .part(let id, let size):
            writer.append(UInt32(RAY_READ_FETCHED))
            writer.append(UInt32(0))
            writer.append(size)
            writer.append(id)
        }
        return writer.bytes
    }
}

// Reading a part of an object without getting it.
extension Ownership {
    /// Fetches a part into an object of its own, which the client holds alone: it goes with the client's last hold on it.
    ///
    /// - Parameter urgency: says what holds the read up.
    /// - Throws: as `makeLocal`; `storeFull`; `closed` when the client is gone.
    func read(
        _ range: ByteRange, of id: ObjectID, for client: ClientSlot, tuning: TransferTuning, urgency: PullUrgency,
        observer: @escaping Pulls.Observer
    ) async throws(RayStoreError) -> FetchedPart {
        var pause = Duration.milliseconds(10)
        let name = parts.make()
        let room = StoreAdmission(name, in: store, by: room, for: client)
        while true {
            switch try whereabouts(of: id) {
            case .here:
                return .isHere
            case .spilled(let spiller):
                let part = parts.make()
                if let size = try await spiller.read(range, of: id, as: part, for: client) {
                    return .part(try hand(part, to: client), size: size)
                }
                try await restore(id, lingering: false, by: spiller, for: client)
            case .moved:
                do throws(RayStoreError) {
                    if let size = try await mover?.read(range, of: id, by: room, in: store) {
                        return .part(try hand(name, to: client), size: size)
                    }
                    try await bringBack(id)
                    continue
                } catch {
                    if error.code == .storeFull, !Task.isCancelled {
                        try await awaitRoom(room, after: error)
                        continue
                    }
                    // Damaged, it is had from another node, if one has it.
                    if catalog.moved.isDamaged(id), !Task.isCancelled {
                        try await bringBack(id)
                        continue
                    }
                    guard Self.mayPass(error.code), !Task.isCancelled else { throw error }
                }
                try? await clock.sleep(for: pause)
                pause = min(pause * 2, .milliseconds(500))
            case .beingMade:
                await awaitChange(of: id)
            case .elsewhere(let owner):
                let sources = sources(of: id, owner: owner)
                do throws(RayStoreError) {
                    if sources.isEmpty { throw absence(of: id, owner: owner) }
                    let part = StoredRange(range, as: name, in: store, by: room)
                    let size = try await transfer.pull(
                        part, of: id, from: sources, tuning: tuning, urgency: urgency, progress: observer)
                    return .part(try hand(part.part, to: client), size: size)
                } catch {
                    if error.code == .storeFull, !Task.isCancelled {
                        try await awaitRoom(room, after: error)
                        continue
                    }
                    guard Self.mayPass(error.code), !Task.isCancelled else { throw pulls.explain(error) }
                    urgency.noteHindrance(error.message)
                    log.debug("read again", metadata: ["object": "\(id)", "reason": "\(error.message)"])
                }
                try? await clock.sleep(for: pause)
                pause = min(pause * 2, .milliseconds(500))
            }
        }
    }

    private func awaitRoom(_ room: StoreAdmission, after failure: RayStoreError) async throws(RayStoreError) {
        do throws(RayStoreError) {
            try await room.awaitRoom(after: failure)
        } catch {
            throw pulls.explain(error)
        }
    }

    /// From here on the part is the client's.
    private func hand(_ part: ObjectID, to client: ClientSlot) throws(RayStoreError) -> ObjectID {
        do throws(RayStoreError) {
            try store.giveRef(part, to: client)
            return part
        } catch {
            // A value that never had a ref would stay.
            store.delete(part, failure: .objectFreed)
            throw error
        }
    }
}
