// SPDX-License-Identifier: Apache-2.0

/// Getting and looking as a guarded reader: the node pins what is here and fetches the rest.
extension ClientHandle {
    nonisolated(nonsending) func pinGuarded(
        _ refs: [AnyObjectRef], timeout: Duration?, tuning: TransferTuning,
        progress: (@Sendable (TransferProgress) -> Void)?
    ) async throws(RayStoreError) -> [SharedPin] {
        var gathering = try GuardedGathering(refs, timeout: timeout, tuning: tuning, over: self)
        while let step = try gathering.next() {
            switch step {
            case .pin(let pins):
                let request = try await whenAccepted { () throws(RayStoreError) in try pins.send() }
                try gathering.accept(await request.answer(onCancel: .abandon, limit: gathering.limit), pins)
            case .ask(let payload):
                let request = try await whenAccepted { () throws(RayStoreError) in
                    try PendingRequest.send(.get, payload, over: self, progress: progress)
                }
                try gathering.accept(await request.answer(onCancel: .abandon, limit: gathering.limit))
            }
        }
        return gathering.pins
    }

    func pinGuardedBlocking(
        _ refs: [AnyObjectRef], timeout: Duration?, tuning: TransferTuning,
        progress: (@Sendable (TransferProgress) -> Void)?
    ) throws(RayStoreError) -> [SharedPin] {
        var gathering = try GuardedGathering(refs, timeout: timeout, tuning: tuning, over: self)
        while let step = try gathering.next() {
            switch step {
            case .pin(let pins):
                let request = try whenAcceptedBlocking { () throws(RayStoreError) in try pins.send() }
                try gathering.accept(request.answerBlocking(limit: gathering.limit), pins)
            case .ask(let payload):
                let request = try whenAcceptedBlocking { () throws(RayStoreError) in
                    try PendingRequest.send(.get, payload, over: self, progress: progress)
                }
                try gathering.accept(request.answerBlocking(limit: gathering.limit))
            }
        }
        return gathering.pins
    }

    /// Which of the objects are sealed on this node.
    ///
    /// - Parameter limit: how long to wait for the answer of a node that does not run.
    nonisolated(nonsending) func look(_ ids: [ObjectID], limit: Duration?) async throws(RayStoreError) -> [Bool] {
        let request = try await whenAccepted { () throws(RayStoreError) in try lookRequest(ids) }
        return try Self.seen(await request.answer(onCancel: .abandon, limit: limit).get(), of: ids.count)
    }

    func lookBlocking(_ ids: [ObjectID], limit: Duration?) throws(RayStoreError) -> [Bool] {
        let request = try whenAcceptedBlocking { () throws(RayStoreError) in try lookRequest(ids) }
        return try Self.seen(request.answerBlocking(limit: limit).get(), of: ids.count)
    }

    private func lookRequest(_ ids: [ObjectID]) throws(RayStoreError) -> PendingRequest {
        var payload = PayloadWriter()
        payload.append(ids)
        return try PendingRequest.send(.look, payload, over: self)
    }

    private static func seen(_ payload: [UInt8], of count: Int) throws(RayStoreError) -> [Bool] {
        guard payload.count == count else {
            throw RayStoreError(.protocolError, "the node answered a look at \(count) objects with \(payload.count) bytes")
        }
        return payload.map { $0 != 0 }
    }
}

private struct GuardedGathering {
    enum Step {
        case pin(GuardedPins)
        case ask(PayloadWriter)
    }

    private let handle: ClientHandle
    private let ids: [ObjectID]
    private let tuning: TransferTuning
    private let deadline: GetDeadline
    private var found: [SharedPin?]
    /// To be pinned in this round.
    private var untried: [Int]
    /// Tried in this round, and not here.
    private var absent: [Int] = []
    private var isLast = false
    private var fruitlessRounds = 0
    private var foundCount = 0
    private var reason: RayStoreError?
    /// By the node, when its time was over.
    private var told: RayStoreError?

    init(
        _ refs: [AnyObjectRef], timeout: Duration?, tuning: TransferTuning, over handle: ClientHandle
    ) throws(RayStoreError) {
        try tuning.check()
        for ref in refs {
            try ref.checkUsable(over: handle)
        }
        self.handle = handle
        self.tuning = tuning
        deadline = GetDeadline(timeout: timeout)
        ids = refs.map(\.id)
        found = Array(repeating: nil, count: refs.count)
        untried = Array(refs.indices)
    }

    var pins: [SharedPin] { found.map { $0! } }

    var limit: Duration? { deadline.limit(grace: .seconds(2)) }

    mutating func next() throws(RayStoreError) -> Step? {
        if !untried.isEmpty { return .pin(GuardedPins(untried.prefix(GuardedPins.limit).map { ids[$0] }, over: handle)) }
        guard !absent.isEmpty else { return nil }
        if isLast { throw deadline.error(missing: absent.map { ids[$0] }, of: ids.count, told: told) }
        // The node says that all are here, and one was evicted before it was pinned: ask again, but not for ever.
        fruitlessRounds = foundCount > 0 ? 0 : fruitlessRounds + 1
        if fruitlessRounds > 100, let reason { throw reason }
        foundCount = 0
        var payload = PayloadWriter()
        payload.append(deadline.remaining.nanosecondsOrForever)
        payload.append(absent.prefix(GuardedPins.limit).map { ids[$0] })
        tuning.append(to: &payload)
        return .ask(payload)
    }

    mutating func accept(_ answer: PendingRequest.Answer, _ pins: GuardedPins) throws(RayStoreError) {
        _ = try answer.get()
        for (index, outcome) in zip(untried, pins.take()) {
            switch outcome {
            case .success(let pin):
                found[index] = pin
                foundCount += 1
            case .failure(let error):
                switch error.code {
                case .notFound, .notSealed, .notLocal, .timedOut, .objectLost, .fetchTimedOut: reason = error
                default: throw error
                }
                absent.append(index)
            }
        }
        untried.removeFirst(pins.ids.count)
    }

    mutating func accept(_ answer: PendingRequest.Answer) throws(RayStoreError) {
        if let error = answer.error {
            guard error.code == .timedOut else { throw absent.count == 1 ? error.about(ids[absent[0]]) : error }
            told = error
            isLast = true
        }
        (untried, absent) = (absent, [])
    }
}
