// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// Getting objects: what is here is pinned at once; what clients of this machine are making is waited for; the rest is asked of the node;
/// until all are pinned.
///
/// The asynchronous and the blocking form share all but the wait: `Gathering` holds the pins and says what to ask next.
extension ClientHandle {
    nonisolated(nonsending) func pin(
        _ refs: [AnyObjectRef], timeout: Duration?, tuning: TransferTuning,
        progress: (@Sendable (TransferProgress) -> Void)?
    ) async throws(RayStoreError) -> [SharedPin] {
        if isGuarded { return try await pinGuarded(refs, timeout: timeout, tuning: tuning, progress: progress) }
        var gathering = try Gathering(refs, timeout: timeout, tuning: tuning, over: self)
        while let step = try gathering.next() {
            switch step {
            case .wait(let wait):
                try gathering.accept(await wait.value())
            case .ask(let payload):
                let request = try await whenAccepted { () throws(RayStoreError) in
                    try PendingRequest.send(.get, payload, over: self, progress: progress)
                }
                try gathering.accept(await request.answer(onCancel: .abandon, limit: gathering.limit))
            }
        }
        return gathering.pins
    }

    func pinBlocking(
        _ refs: [AnyObjectRef], timeout: Duration?, tuning: TransferTuning,
        progress: (@Sendable (TransferProgress) -> Void)?
    ) throws(RayStoreError) -> [SharedPin] {
        if isGuarded { return try pinGuardedBlocking(refs, timeout: timeout, tuning: tuning, progress: progress) }
        var gathering = try Gathering(refs, timeout: timeout, tuning: tuning, over: self)
        while let step = try gathering.next() {
            switch step {
            case .wait(let wait):
                try gathering.accept(wait.valueBlocking())
            case .ask(let payload):
                let request = try whenAcceptedBlocking { () throws(RayStoreError) in
                    try PendingRequest.send(.get, payload, over: self, progress: progress)
                }
                try gathering.accept(request.answerBlocking(limit: gathering.limit))
            }
        }
        return gathering.pins
    }
}

extension ClientHandle {
    nonisolated(nonsending) func pinOne(
        _ ref: AnyObjectRef, timeout: Duration?, tuning: TransferTuning,
        progress: (@Sendable (TransferProgress) -> Void)?
    ) async throws(RayStoreError) -> PinnedObject {
        try PinnedObject(try await pin([ref], timeout: timeout, tuning: tuning, progress: progress)[0].another())
    }

    func pinOneBlocking(
        _ ref: AnyObjectRef, timeout: Duration?, tuning: TransferTuning
    ) throws(RayStoreError) -> PinnedObject {
        try PinnedObject(try pinBlocking([ref], timeout: timeout, tuning: tuning, progress: nil)[0].another())
    }
}

private struct Gathering {
    enum Step {
        case wait(LocalWait)
        case ask(PayloadWriter)
    }

    private let handle: ClientHandle
    private let ids: [ObjectID]
    private let tuning: TransferTuning
    private let deadline: GetDeadline
    private var found: [SharedPin?]
    private var missing: [Int]
    private var reason: RayStoreError?
    private var fruitlessRounds = 0

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
        missing = Array(refs.indices)
    }

    var pins: [SharedPin] { found.map { $0! } }

    var limit: Duration? { deadline.limit(grace: .seconds(1)) }

    /// Pins what is here. What to do about what is not; nil when nothing is missing.
    mutating func next() throws(RayStoreError) -> Step? {
        let before = missing.count
        try pinWhatIsHere()
        guard !missing.isEmpty else { return nil }
        // The node says that all are here, and one was evicted before it could be pinned: ask again. But not for ever, should the node
        // and the store disagree.
        fruitlessRounds = missing.count < before ? 0 : fruitlessRounds + 1
        if fruitlessRounds > 100, let reason { throw reason }
        let lacking = missing.map { ids[$0] }
        if deadline.remaining != .zero, try handle.areBeingMade(lacking) {
            return .wait(try LocalWait.begin(lacking, wanted: lacking.count, timeout: deadline.remaining, over: handle))
        }
        var payload = PayloadWriter()
        payload.append(deadline.remaining.nanosecondsOrForever)
        payload.append(lacking)
        tuning.append(to: &payload)
        return .ask(payload)
    }

    mutating func accept(_ answer: PendingRequest.Answer) throws(RayStoreError) {
        guard let error = answer.error else { return }
        // A node names the object that failed; where only one was missing there is no doubt anyway.
        guard error.code == .timedOut else { throw missing.count == 1 ? error.about(ids[missing[0]]) : error }
        try lookLast(told: error)
    }

    mutating func accept(_ outcome: LocalWait.Outcome) throws(RayStoreError) {
        switch outcome {
        case .changed: break
        case .timedOut: try lookLast()
        case .failed(let error): throw missing.count == 1 ? error.about(ids[missing[0]]) : error
        }
    }

    // The time is over: what arrived in the meantime is there.
    private mutating func lookLast(told: RayStoreError? = nil) throws(RayStoreError) {
        try pinWhatIsHere()
        if !missing.isEmpty {
            throw deadline.error(missing: missing.map { ids[$0] }, of: ids.count, told: told)
        }
    }

    private mutating func pinWhatIsHere() throws(RayStoreError) {
        var pins = try handle.pinManyNow(missing.map { ids[$0] }, reason: &reason)
        for (place, index) in missing.enumerated() {
            swap(&found[index], &pins[place])
        }
        missing.removeAll { found[$0] != nil }
    }
}
