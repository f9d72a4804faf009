// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// The room that files may take of their disk, dealt out before they come.
///
/// Whoever fills a file reserves its size first, so that two that fit alone and not together do not both start. What a reservation has not
/// yet filled is looked up as size less what the partial file has taken: so it does not matter whether the file system gives a file its
/// blocks at once or as it is written. Others write to the disk as well; a file that meets a full disk all the same asks again.
///
/// Without enough room one waits, first come first served, while files are let go of (`DiskReliever`) and as long as those that run could free
/// enough by their end. A reservation that waits promises nothing to the others.
final class DiskRoom: Sendable {
    /// Told whether there was too little room when it asked.
    private typealias Waiter = CheckedContinuation<Result<Bool, RayStoreError>, Never>

    private struct Waiting {
        let id: ObjectID
        let ticket: UInt64
        let waiter: Waiter
        /// Whether there was too little when its turn came.
        var hasLacked = false
        /// Since when readers of copies are its only hope.
        var readersSince: Duration?
    }

    private struct Reservation {
        enum Phase {
            case running
            case waiting
            /// It was told that there is no room; what it has so far goes.
            case ending
        }

        var size: UInt64
        var phase: Phase
    }

    private struct State {
        var reservations: [ObjectID: Reservation] = [:]
        var queue: [Waiting] = []
        var nextTicket: UInt64 = 0
        var isServing = false
        /// Counts what may have made room.
        var changeCount: UInt64 = 0
        var sleeper: CheckedContinuation<Void, Never>?
        weak var reliever: (any DiskReliever)?
    }

    /// For how long readers of copies that could go are waited for, who may be about to close them. No event says that they will: some close
    /// at once what they have looked at, some keep it for hours, and a get without a limit must not stand still behind those. Two seconds
    /// are enough to copy 2 GB from a disk that reads 1 GB/s: chosen, not measured.
    private static let readerPatience = Duration.seconds(2)
    /// What else is on the disk comes and goes without telling this node: so often it is looked again, by one statvfs.
    private static let lookEvery = Duration.milliseconds(250)

    let limits: DiskLimits
    private let root: String
    private let partialPath: @Sendable (ObjectID) -> String
    private let clock: any NodeClock
    private let state = Mutex(State())

    /// - Parameters:
    ///   - root: a folder on the disk.
    ///   - partialPath: where an object's file is filled.
    init(
        root: String, limits: DiskLimits, clock: any NodeClock, partialPath: @escaping @Sendable (ObjectID) -> String
    ) {
        self.root = root
        self.limits = limits
        self.clock = clock
        self.partialPath = partialPath
    }

    func setReliever(_ reliever: any DiskReliever) {
        state.withLock { $0.reliever = reliever }
    }

    /// Looks at the disk. May block.
    func look() throws(RayStoreError) -> DiskState {
        try DiskState(at: root, limits)
    }

    /// By the node's clock.
    var now: Duration { clock.now }

    /// How many files are waiting for room.
    var waitingCount: Int { state.withLock { $0.queue.count } }

    // MARK: Taking

    /// Reserves at once, if there is room and nobody waits for some; true also when this object has its room. May block on the disk, for
    /// a moment.
    func takeNow(_ id: ObjectID, size: UInt64) -> Bool {
        state.withLock { state in
            if let own = state.reservations[id], own.size == size, case .running = own.phase { return true }
            guard state.queue.isEmpty, lack(of: id, size, in: state) == 0 else { return false }
            state.reservations[id] = Reservation(size: size, phase: .running)
            return true
        }
    }

    /// Reserves, in its turn; what could free enough is waited for. What this object has of a partial file counts as taken.
    ///
    /// - Returns: whether there was too little at first.
    /// - Throws: `outOfDisk` with needed, free and where; `cancelled` when the task is.
    @discardableResult
    func take(_ id: ObjectID, size: UInt64) async throws(RayStoreError) -> Bool {
        let ticket = state.withLock { state in
            state.nextTicket += 1
            return state.nextTicket
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: Waiter) in
                enqueue(id, size, ticket, waiter)
                // A cancellation that came before the waiter was listed did not find it.
                if Task.isCancelled { giveUp(id, ticket) }
            }
        } onCancel: {
            giveUp(id, ticket)
        }
        return try result.get()
    }

    /// The file is in its place, or nothing is left of it.
    func release(_ id: ObjectID) {
        let sleeper = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.reservations.removeValue(forKey: id) != nil else { return nil }
            return Self.noteChange(&state)
        }
        sleeper?.resume()
    }

    private func enqueue(_ id: ObjectID, _ size: UInt64, _ ticket: UInt64, _ waiter: Waiter) {
        let (sleeper, begins) = state.withLock { state in
            // Who was running and waits now lets the others look again.
            let sleeper = Self.noteChange(&state)
            state.reservations[id] = Reservation(size: size, phase: .waiting)
            state.queue.append(Waiting(id: id, ticket: ticket, waiter: waiter))
            defer { state.isServing = true }
            return (sleeper, !state.isServing)
        }
        sleeper?.resume()
        if begins { Task { await self.serve() } }
    }

    private func giveUp(_ id: ObjectID, _ ticket: UInt64) {
        let (waiter, sleeper) = state.withLock { state -> (Waiter?, CheckedContinuation<Void, Never>?) in
            guard let index = state.queue.firstIndex(where: { $0.ticket == ticket }) else { return (nil, nil) }
            let waiter = state.queue.remove(at: index).waiter
            state.reservations[id]?.phase = .ending
            return (waiter, Self.noteChange(&state))
        }
        sleeper?.resume()
        waiter?.resume(
            returning: .failure(RayStoreError(.cancelled, "the wait for room on the disk was cancelled", object: id)))
    }

    private static func noteChange(_ state: inout State) -> CheckedContinuation<Void, Never>? {
        state.changeCount += 1
        defer { state.sleeper = nil }
        return state.sleeper
    }

    // MARK: Dealing out

    private enum Step: Sendable {
        case done
        case granted
        case lacks(ObjectID, size: UInt64, bytes: UInt64, changeCount: UInt64, mayCome: Bool)
    }

    /// Serves the queue until it is empty.
    private func serve() async {
        while true {
            // Without a thread the look is made here: it is short.
            let step = (try? await runBlocking { self.step() }) ?? self.step()
            switch step {
            case .done: return
            case .granted: continue
            case .lacks(let id, let size, let bytes, let changeCount, var mayCome):
                let reliever = state.withLock { $0.reliever }
                let relief = await reliever?.relieveDisk(of: bytes) ?? .open(0)
                if relief == .went || state.withLock({ $0.changeCount != changeCount }) { continue }
                var heldBytes: UInt64 = 0
                if case .open(let held) = relief { heldBytes = held } else { mayCome = true }
                let readersTime = readersTime(of: id, isOver: mayCome)
                if mayCome || (heldBytes >= bytes && readersTime < Self.readerPatience) {
                    await awaitChange(since: changeCount)
                } else {
                    refuse(id, await refusal(id, size, holds: reliever?.whatHoldsTheDisk() ?? ""))
                }
            }
        }
    }

    /// For how long readers have been the only hope of the head. What runs, or has just come, is another one: the time begins after it.
    private func readersTime(of id: ObjectID, isOver: Bool) -> Duration {
        let now = clock.now
        return state.withLock { state in
            guard state.queue.first?.id == id else { return .zero }
            let since = isOver ? nil : state.queue[0].readersSince ?? now
            state.queue[0].readersSince = since
            return now - (since ?? now)
        }
    }

    /// Grants the head its room if it is there.
    private func step() -> Step {
        let (step, granted) = state.withLock { state -> (Step, Waiting?) in
            guard let head = state.queue.first, let size = state.reservations[head.id]?.size else {
                state.isServing = false
                return (.done, nil)
            }
            let bytes = lack(of: head.id, size, in: state)
            if bytes == 0 {
                state.queue.removeFirst()
                state.reservations[head.id]?.phase = .running
                return (.granted, head)
            }
            state.queue[0].hasLacked = true
            // What runs may end without its file, or with one that can be let go of.
            let coming = state.reservations.reduce(into: UInt64(0)) { sum, other in
                if case .waiting = other.value.phase { return }
                sum = sum.addingReportingOverflow(other.value.size).partialValue
            }
            return (
                .lacks(head.id, size: size, bytes: bytes, changeCount: state.changeCount, mayCome: coming >= bytes), nil
            )
        }
        granted?.waiter.resume(returning: .success(granted!.hasLacked))
        return step
    }

    /// How many bytes more must be free for this file. A disk that cannot be looked at lacks nothing: the write will say what is wrong.
    private func lack(of id: ObjectID, _ size: UInt64, in state: borrowing State) -> UInt64 {
        guard let disk = try? look(), disk.total > 0 else { return 0 }
        // Most of the time there is plenty, whatever the partial files have taken.
        let most = state.reservations.reduce(into: Self.sum(size, disk.kept)) { sum, other in
            if other.key != id, case .running = other.value.phase { sum = Self.sum(sum, other.value.size) }
        }
        if most <= disk.free { return 0 }
        var wanted = left(of: id, size)
        for (other, reservation) in state.reservations where other != id {
            if case .running = reservation.phase { wanted = Self.sum(wanted, left(of: other, reservation.size)) }
        }
        wanted = Self.sum(wanted, disk.kept)
        return wanted > disk.free ? wanted - disk.free : 0
    }

    private func left(of id: ObjectID, _ size: UInt64) -> UInt64 {
        let taken = ray_file_allocated(partialPath(id))
        return size > taken ? size - taken : 0
    }

    /// Sizes come from other machines.
    private static func sum(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : sum
    }

    /// Returns when something has changed since, and after a while: others may have made room.
    private func awaitChange(since changeCount: UInt64) async {
        let timer = Task { [clock] in
            try? await clock.sleep(for: Self.lookEvery)
            let sleeper = self.state.withLock { Self.noteChange(&$0) }
            sleeper?.resume()
        }
        await withCheckedContinuation { continuation in
            let hasChanged = state.withLock { state in
                if state.changeCount == changeCount { state.sleeper = continuation }
                return state.changeCount != changeCount
            }
            if hasChanged { continuation.resume() }
        }
        timer.cancel()
    }

    // MARK: Refusing

    private func refuse(_ id: ObjectID, _ error: RayStoreError) {
        let waiter = state.withLock { state -> Waiter? in
            guard let index = state.queue.firstIndex(where: { $0.id == id }) else { return nil }
            state.reservations[id]?.phase = .ending
            return state.queue.remove(at: index).waiter
        }
        waiter?.resume(returning: .failure(error))
    }

    private func refusal(_ id: ObjectID, _ size: UInt64, holds: String) async -> RayStoreError {
        let disk = try? await runBlocking { () throws(RayStoreError) in try self.look() }
        let promised = state.withLock { state in
            state.reservations.reduce(into: UInt64(0)) { sum, other in
                guard case .running = other.value.phase, other.key != id else { return }
                sum = Self.sum(sum, left(of: other.key, other.value.size))
            }
        }
        let needed = left(of: id, size)
        var text = "no room for the file of object \(id): \(needed) bytes needed"
        if needed != size { text += " of its \(size)" }
        text += ", \(disk?.free ?? 0) free at \(root), of which \(disk?.kept ?? 0) are kept"
        if promised > 0 { text += " and \(promised) are promised to other files" }
        if !holds.isEmpty { text += "; " + holds }
        text += "; make room there, or lower --disk-reserve or raise --disk-watermark"
        return RayStoreError(.outOfDisk, text, object: id)
    }
}
