// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// How a node's control messages reach another node. Small and rare; bulk data has its own way (the C transfer engine).
public protocol Transport: Sendable {
    /// Sends a request and waits for its answer.
    ///
    /// - Throws: what the other node answered, or `unreachable` naming it when no answer came within some seconds. Every request may be
    ///   sent again.
    func call(_ request: PeerRequest, on node: NodeDescription) async throws(RayStoreError) -> PeerAnswer
}

/// The node's side: what the transport of another node reaches.
public protocol PeerService: Sendable {
    func handle(_ request: PeerRequest, from sender: NodeID) async throws(RayStoreError) -> PeerAnswer
}

/// What one node asks of another. An owner is asked about its objects; a holder is told what became of them.
public enum PeerRequest: Sendable, Codable {
    /// The sender has its first local ref of each of these: count it as a borrower. Uses up one share of each that is in flight.
    case borrow([ObjectID])
    /// The sender's last local ref of each of these went, and its copies with them.
    case release([ObjectID])
    /// A session of the sender is about to pass the ref on: keep the object until somebody opens it or the session ends.
    case share(ObjectID, session: UInt64)
    /// The session has ended: its unopened shares are void.
    case endShares(session: UInt64)
    /// The sender has a complete copy of each of these.
    case hold([ObjectID])
    /// The sender would let go of its copies of these for want of room. The outcome of each is whether it may, since there is another; from
    /// then on it counts as no holder. To the owner.
    case letGo([ObjectID])
    /// Is each of these complete somewhere? To the owner.
    case available([ObjectID])
    /// The object has got a name, which goes when it ends. To the owner.
    case named(ObjectID)
    /// Free these objects everywhere. To the owner.
    case free([ObjectID])
    /// Let the object live until it is removed, whatever becomes of its job. To the owner.
    case detach(ObjectID)
    /// A detached object may go when its last reference does. To the owner.
    case remove(ObjectID)
    /// These objects are gone, for this reason: delete the copies. From the owner.
    case gone([ObjectID], code: RayStoreError.Code, message: String)
    /// Get a copy of this object, in this way if nothing of it is under way, and keep it for so long. The outcome is whether that has begun.
    case prefetch(ObjectID, nanoseconds: Int64, tuning: TransferTuning?)
    /// Is the copy that was asked for there? The outcome, after so long at most, is `notSealed` when it is not yet.
    case prefetched(ObjectID, withinNanoseconds: Int64)
    /// The copy that was asked for need not be kept.
    case endPrefetch(ObjectID)
    /// What the node itself would report; the answer is JSON.
    case report(String, arguments: String)
}

/// What a node answers.
public enum PeerAnswer: Sendable, Codable {
    case done
    /// One outcome for each object that was asked about, in order: nil is success.
    case outcomes([PeerFailure?])
    case report(String)
}

/// A failure on its way between nodes.
public struct PeerFailure: Hashable, Sendable, Codable {
    public let code: RayStoreError.Code
    public let message: String
    public let object: ObjectID?

    public init(_ error: RayStoreError) {
        code = error.code
        message = error.message
        object = error.object
    }

    public var error: RayStoreError { RayStoreError(code, message, object: object) }

    /// Whether the object may come all the same: it is sealed later, or somebody has it again.
    var isPassing: Bool { code == .notSealed || code == .noHolder }
}
