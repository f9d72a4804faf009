// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

/// Where those wait who find no room in the store: clients that create, pulls, and what is brought back from a storage.
///
/// While somebody waits, one task serves: whenever memory has come free it creates what is next in `RoomOrder`, in the name of who waits for it,
/// and has the reliever free more. `RoomTurn` says who may pass a head that is too large for now. Nobody waiting costs nothing.
actor RoomQueue {
    struct Options: Sendable {
        /// How long somebody without a limit waits while nothing at all comes free. Who has a limit waits until then: a pin that goes tells
        /// nobody before it does.
        var grace: Duration = .seconds(10)
        var quota = RoomQuota()
    }

    private typealias Answer = CheckedContinuation<Result<Void, RayStoreError>, Never>

    private struct Waiting {
        let request: RoomRequest
        let since: Duration
        let end: Duration?
        let continuation: Answer
    }

    /// Pins that go tell nobody, so who waits looks now and then whether something can be freed by now.
    private static let lookEvery = Duration.milliseconds(25)
    private static let reliefPauseMost = Duration.milliseconds(200)
    /// Requests that are tried beside the head at a time.
    private static let passersMost = 64
    /// How long what comes back waits for room like everybody else before it takes what is kept for it.
    private static let keptAfter = Duration.milliseconds(100)

    private let store: NodeStore
    private let capacity: UInt64
    private let options: Options
    private let clock: any NodeClock
    private let log: Logger
    private let explain: @Sendable (RayStoreError) -> RayStoreError
    private let thread = BlockingThreads(limit: 1)
    private var reliever: (any MemoryReliever)?

    private var order = RoomOrder()
    private var waiting: [UInt64: Waiting] = [:]
    private var nextTicket: UInt64 = 0
    private var turn: RoomTurn?
    private var isServing = false
    private var stopReason: RayStoreError?
    /// When something last came free, or was served.
    private var progress = Duration.zero
    private var ownWakes: UInt32 = 0
    /// Calls of the reliever under way.
    private var reliefs = 0
    private var reliefAfter = Duration.zero
    private var reliefPause = lookEvery
    private var lookedForLate = Duration.zero

    /// - Parameter explain: adds to a failure what the node knows of it.
    init(
        _ store: NodeStore, capacity: UInt64, options: Options, clock: any NodeClock, log: Logger,
        explain: @escaping @Sendable (RayStoreError) -> RayStoreError
    ) {
        self.store = store
        self.capacity = capacity
        self.options = options
        self.clock = clock
        self.log = log
        self.explain = explain
    }

    /// Who frees memory from now on. Without one only what others free is waited for.
    func use(_ reliever: any MemoryReliever) {
        self.reliever = reliever
    }

    /// How many wait.
    var count: Int { order.count }

    /// Creates the object, when there is room and it is its turn. It is there when this returns, to be accepted by whom it is for, or declined.
    ///
    /// - Throws: `storeFull` when it cannot be, naming why; `timedOut`; `cancelled` when the task is; what a create fails with.
    func create(_ request: RoomRequest) async throws(RayStoreError) {
        if let stopReason { throw stopReason }
        guard request.bytes <= capacity else {
            throw RayStoreError(
                .storeFull,
                "object \(request.id) needs \(request.bytes) bytes, the whole store has \(capacity): start the node with more memory",
                object: request.id)
        }
        // Who comes when nobody waits may find by now what it did not find before.
        if order.isEmpty, try tryNow(request) { return }
        if options.quota.isSet { try await checkQuota(request) }
        nextTicket += 1
        let ticket = nextTicket
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: Answer) in
                if Task.isCancelled || stopReason != nil {
                    continuation.resume(returning: Result.failure(stopReason ?? Self.cancelled(request)))
                } else {
                    enter(ticket, request, continuation)
                }
            }
        } onCancel: {
            Task { await self.withdraw(ticket) }
        }
        try result.get()
    }

    /// Ends every wait, and refuses whoever comes.
    func stop(because reason: RayStoreError) {
        stopReason = stopReason ?? reason
        for ticket in waiting.keys { finish(ticket, .failure(reason)) }
        reliever = nil
        wake()
    }

    // MARK: Coming and going

    private static func cancelled(_ request: RoomRequest) -> RayStoreError {
        RayStoreError(.cancelled, "the wait for room for \(request.id) was cancelled", object: request.id)
    }

    private func checkQuota(_ request: RoomRequest) async throws(RayStoreError) {
        var ofClient: UInt64 = 0
        var ofJob: UInt64 = 0
        for other in waiting.values where other.request.client != nil {
            if other.request.client == request.client { ofClient &+= other.request.bytes }
            if other.request.id.job == request.id.job { ofJob &+= other.request.bytes }
        }
        let (store, quota, sums) = (store, options.quota, (ofClient: ofClient, ofJob: ofJob))
        try await runBlocking { () throws(RayStoreError) in try quota.check(request, waiting: sums, in: store) }
    }

    private func enter(_ ticket: UInt64, _ request: RoomRequest, _ continuation: Answer) {
        let now = clock.now
        waiting[ticket] = Waiting(
            request: request, since: now, end: request.limit.map { now + $0 }, continuation: continuation)
        order.add(ticket, in: request.line, bytes: request.bytes)
        if isServing {
            wake()
        } else {
            isServing = true
            progress = now
            Task { await self.serve() }
        }
    }

    private func withdraw(_ ticket: UInt64) {
        guard let waiter = waiting[ticket] else { return }
        finish(ticket, .failure(Self.cancelled(waiter.request)))
        wake()
    }

    private func finish(_ ticket: UInt64, _ result: Result<Void, RayStoreError>) {
        guard let waiter = waiting.removeValue(forKey: ticket) else { return }
        var isServed = false
        if case .success = result { isServed = true }
        order.remove(ticket, isServed: isServed)
        // Whoever hears of this end must not be refused room for the sake of one who does not wait any more.
        if order.isEmpty { endTurn() }
        waiter.continuation.resume(returning: result)
    }

    private func wake() {
        guard isServing else { return }
        ownWakes &+= 1
        store.wakeRoom()
    }

    // MARK: Serving

    private func serve() async {
        var last: (seen: UInt32, ownWakes: UInt32)?
        while !order.isEmpty {
            let seen: UInt32
            do throws(RayStoreError) {
                seen = try store.watchRoom()
            } catch {
                for ticket in waiting.keys { finish(ticket, .failure(error)) }
                break
            }
            // What was not this queue's own call was memory that came free.
            if let last, seen &- last.seen != ownWakes &- last.ownWakes { progress = clock.now }
            last = (seen, ownWakes)
            serveWhatFits()
            serveFromKept()
            await failLate()
            guard !order.isEmpty else { break }
            relieve()
            await sleep(since: seen)
        }
        endTurn()
        isServing = false
    }

    private func endTurn() {
        guard turn != nil else { return }
        turn = nil
        store.holdRoom(lettingPass: nil)
    }

    private func sleep(since seen: UInt32) async {
        let store = store
        do throws(RayStoreError) {
            try await runBlocking(on: thread) { store.waitForRoom(since: seen, atMost: Self.lookEvery) }
        } catch {
            // Without a thread to be had it looks now and then.
            try? await clock.sleep(for: Self.lookEvery)
        }
    }

    private func serveWhatFits() {
        while let head = order.head, let waiter = waiting[head] {
            guard tryToServe(head, waiter) else {
                takeTurn(head, waiter.request.bytes)
                break
            }
        }
        guard var turn, turn.passBytes > 0 else { return }
        for ticket in order.others(smallerThan: turn.passBytes, count: Self.passersMost) {
            guard let waiter = waiting[ticket], waiter.request.bytes <= turn.passBytes else { continue }
            if tryToServe(ticket, waiter) { turn.notePassed(waiter.request.bytes) }
        }
        if self.turn != nil { self.turn = turn }
    }

    /// When memory is full of what cannot go, what lies outside is had all the same: one after the other, for each can go again without a write.
    ///
    /// What is too large for what is left beside the kept room takes of it, too.
    private func serveFromKept() {
        let now = clock.now
        let kept = reliever?.keptBytes ?? 0
        guard kept > 0 else { return }
        let meant = order.inTurn(count: Self.passersMost) { ticket in
            guard let waiter = waiting[ticket], now - waiter.since >= Self.keptAfter else { return false }
            return waiter.request.comesBack || waiter.request.bytes > capacity - min(kept, capacity)
        }
        for ticket in meant {
            guard let waiter = waiting[ticket] else { continue }
            // When one that is not too large for it has no room there, somebody has it: nobody else has any either.
            guard tryToServe(ticket, waiter, fromKept: true) || waiter.request.bytes > kept else { break }
        }
    }

    /// The head has no room yet: says what may pass it.
    private func takeTurn(_ head: UInt64, _ bytes: UInt64) {
        if turn?.ticket != head {
            turn = RoomTurn(head, bytes: bytes, now: clock.now)
        } else if turn?.advance(now: clock.now) != true {
            return
        }
        store.holdRoom(lettingPass: turn!.ownBytes)
    }

    private func tryNow(_ request: RoomRequest, fromKept: Bool = false) throws(RayStoreError) -> Bool {
        do throws(RayStoreError) {
            try store.create(request, fromKept: fromKept)
            return true
        } catch {
            guard error.code == .storeFull else { throw error }
            return false
        }
    }

    /// False when there is no room for it.
    private func tryToServe(_ ticket: UInt64, _ waiter: Waiting, fromKept: Bool = false) -> Bool {
        do throws(RayStoreError) {
            guard try tryNow(waiter.request, fromKept: fromKept) else { return false }
            progress = clock.now
            finish(ticket, .success(()))
        } catch {
            finish(ticket, .failure(error))
        }
        return true
    }

    // MARK: Giving up

    private func failLate() async {
        let now = clock.now
        guard now - lookedForLate >= .milliseconds(5) else { return }
        lookedForLate = now
        let late = waiting.filter { $0.value.end.map { $0 <= now } == true }
        let hopeless = waiting.filter {
            reliefs == 0 && $0.value.end == nil && now - max($0.value.since, progress) >= options.grace
        }
        guard !late.isEmpty || !hopeless.isEmpty else { return }
        let store = store
        let figures: RoomFigures
        do throws(RayStoreError) {
            figures = try await runBlocking { () throws(RayStoreError) in try RoomFigures(store) }
        } catch {
            for ticket in Array(late.keys) + Array(hopeless.keys) { finish(ticket, .failure(error)) }
            return
        }
        for (ticket, waiter) in hopeless { fail(ticket, waiter.request, figures.hopeless(waiter.request)) }
        for (ticket, waiter) in late { fail(ticket, waiter.request, figures.late(waiter.request)) }
    }

    /// The node's own requests are explained where they end.
    private func fail(_ ticket: UInt64, _ request: RoomRequest, _ error: RayStoreError) {
        finish(ticket, .failure(request.client == nil ? error : explain(error)))
    }

    // MARK: Freeing

    private func relieve() {
        // Writing one file need not wait for another when much is wanted, or next to nothing is free: whoever waits now comes again.
        let most = order.bytes > capacity / 8 || store.usedBytes > capacity - capacity / 8 ? 2 : 1
        guard let reliever, let head = order.head, let request = waiting[head]?.request, clock.now >= reliefAfter else { return }
        // For those behind the head as well, but not so much that what is used would go.
        let wanted = min(order.bytes, max(request.bytes, capacity / 8))
        while reliefs < most {
            reliefs += 1
            // How much the head needs in one piece is not known before it has it.
            Task { self.noteRelief(await reliever.free(wanted) { await !self.order.isEmpty }) }
        }
    }

    private func noteRelief(_ freed: UInt64) {
        reliefs -= 1
        if freed > 0 {
            progress = clock.now
            reliefPause = Self.lookEvery
            wake()
        } else {
            reliefAfter = clock.now + reliefPause
            reliefPause = min(reliefPause * 2, Self.reliefPauseMost)
        }
    }
}
