// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// Has a node of the cluster, this one or another, prefetch an object.
struct Prefetching: Sendable {
    let me: NodeID
    let ownership: Ownership
    let links: PeerLinks
    let peers: Peers
    let clock: any NodeClock

    /// How long an answer may take on its way between nodes, at most: shorter than what the transport allows.
    private static let answerLimit = Duration.seconds(1)

    /// Returns when the pull has begun.
    ///
    /// - Throws: `nodeDied` or `invalidArgument` for a node that is not in the cluster any more, or never was; `unreachable`; why there is
    ///   no such object.
    func begin(
        _ id: ObjectID, on node: NodeID, keepingFor time: Duration, tuning: TransferTuning
    ) async throws(RayStoreError) {
        if node == me {
            try await ownership.prefetch(id, keepingFor: time, tuning: tuning)
        } else {
            try await require(node)
            let request = PeerRequest.prefetch(id, nanoseconds: Int64(clamping: time.nanosecondsClamped), tuning: tuning)
            try Self.check(await links.askAside(node, request), node)
        }
    }

    /// Returns when the copy is there.
    ///
    /// - Throws: why there is none, such as `storeFull`; `cancelled` when it was given up.
    func awaitEnd(of id: ObjectID, on node: NodeID) async throws(RayStoreError) {
        while true {
            var failure: PeerFailure?
            if node == me {
                failure = await ownership.prefetchOutcome(of: id, within: Self.answerLimit)
            } else if case .outcomes(let outcomes) = try await links.askAside(
                node, .prefetched(id, withinNanoseconds: Int64(clamping: Self.answerLimit.nanosecondsClamped)))
            {
                failure = outcomes.first ?? nil
            }
            guard let failure else { return }
            guard failure.code == .notSealed else { throw failure.error }
            if Task.isCancelled { throw RayStoreError(.cancelled, "the wait for the prefetch was cancelled", object: id) }
        }
    }

    func end(_ id: ObjectID, on node: NodeID) async throws(RayStoreError) {
        if node == me {
            await ownership.endPrefetch(id)
        } else {
            try await require(node)
            _ = try await links.askAside(node, .endPrefetch(id))
        }
    }

    private func require(_ node: NodeID) async throws(RayStoreError) {
        if peers[node] != nil { return }
        try await peers.refresh()
        if peers[node] != nil { return }
        guard peers.isGone(node) else {
            throw RayStoreError(
                .invalidArgument, "there is no node \(node.short) in this cluster: the status lists those that are")
        }
        throw RayStoreError(.nodeDied, "node \(node.short) is not in the cluster any more")
    }

    private static func check(_ answer: PeerAnswer, _ node: NodeID) throws(RayStoreError) {
        guard case .outcomes(let outcomes) = answer else {
            throw RayStoreError(.protocolError, "node \(node.short) gave no outcome for a prefetch")
        }
        if let failure = outcomes.first ?? nil { throw failure.error }
    }
}
