// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// One pull on its way between the engine's threads and the task that waits.
///
/// `@unchecked Sendable`: the mutable part is behind the mutex; the C handle may be used by any thread.
final class PullOperation: @unchecked Sendable {
    enum Question: Sendable {
        case object(ObjectID)
        /// What the source serves by this name.
        case name(String)
    }

    /// What has come is not given up while the link to the sources is cut, or the last holder is gone. In a cluster who waits says for how long
    /// (`Pulls`); this is for parts, and for what is fetched by name.
    static let patience = Duration.seconds(60)

    private struct State {
        var handle: CHandle?
        var isCancelled = false
        var continuation: CheckedContinuation<Result<PulledObject, RayStoreError>, Never>?
        var place = PulledObject.Place.store
        var size: UInt64 = 0
        /// Why the file was not let in.
        var refusal: RayStoreError?
        var explanation: TransferExplanation?
    }

    private let state = Mutex(State())
    private let partialPath: String
    private let keepsEarlier: Bool
    private let tuning: TransferTuning
    private let urgency: PullUrgency
    private let room: StoreAdmission?
    private let admit: @Sendable (UInt64) -> RayStoreError?
    private let place: @Sendable () -> RayStoreError?
    private let progress: @Sendable (ray_transfer_progress) -> Void
    private let range: (any RangeSink)?
    private let patience: Duration?
    /// For all of it; nil for no limit.
    private let timeout: Duration?

    /// - Parameters:
    ///   - partialPath: where a file is filled.
    ///   - tuning: checked.
    ///   - urgency: may be raised while it runs.
    ///   - keepsEarlier: goes on with what an earlier pull left there; else begins anew.
    ///   - room: where an object goes.
    ///   - patience: for how long it waits for a source once it has begun; nil: until it is cancelled.
    ///   - admit: told a file's size before it is filled; answers why it must not be. Must not block for long.
    ///   - place: gives a complete file its place while nobody else may touch it; answers why it could not. Must not block for long.
    init(
        into partialPath: String, tuning: TransferTuning, urgency: PullUrgency, keepsEarlier: Bool = true,
        room: StoreAdmission? = nil, patience: Duration? = PullOperation.patience, timeout: Duration? = nil,
        admit: @escaping @Sendable (UInt64) -> RayStoreError? = { _ in nil },
        place: @escaping @Sendable () -> RayStoreError? = { nil },
        progress: @escaping @Sendable (ray_transfer_progress) -> Void
    ) {
        self.partialPath = partialPath
        self.keepsEarlier = keepsEarlier
        self.tuning = tuning
        self.urgency = urgency
        self.room = room
        self.admit = admit
        self.place = place
        self.progress = progress
        self.patience = patience
        self.timeout = timeout
        range = nil
    }

    /// A pull of a part of the data.
    init(
        of range: any RangeSink, tuning: TransferTuning, urgency: PullUrgency,
        patience: Duration? = PullOperation.patience, timeout: Duration? = nil,
        progress: @escaping @Sendable (ray_transfer_progress) -> Void
    ) {
        partialPath = ""
        keepsEarlier = false
        self.tuning = tuning
        self.urgency = urgency
        room = nil
        admit = { _ in nil }
        place = { nil }
        self.progress = progress
        self.patience = patience
        self.timeout = timeout
        self.range = range
    }

    /// Why it went as it did, once `run` has ended; nil when it did not begin.
    var explanation: TransferExplanation? { state.withLock { $0.explanation } }

    /// Pulls; a cancelled task cancels the pull and waits for its end.
    func run(
        _ question: Question, from sources: [BulkEndpoint], on engine: EngineHandle
    ) async throws(RayStoreError) -> PulledObject {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if !engine.use({ start(question, from: sources, on: $0, continuation) }) {
                    _ = range?.end(with: EngineHandle.isClosed)
                    continuation.resume(returning: .failure(EngineHandle.isClosed))
                }
            }
        } onCancel: {
            cancel()
        }
        release()
        return try result.get()
    }

    private func start(
        _ question: Question, from sources: [BulkEndpoint], on transfer: OpaquePointer,
        _ continuation: CheckedContinuation<Result<PulledObject, RayStoreError>, Never>
    ) {
        state.withLock { $0.continuation = continuation }
        var callbacks = ray_pull_callbacks(
            opened: { context, pull, card in
                Unmanaged<PullOperation>.fromOpaque(context!).takeUnretainedValue().opened(pull, card.pointee)
            },
            progressed: { context, progress in
                Unmanaged<PullOperation>.fromOpaque(context!).takeUnretainedValue().progress(progress.pointee)
            },
            done: { context, status, message, progress in
                Unmanaged<PullOperation>.fromOpaque(context!).takeRetainedValue()
                    .done(status, String(cString: message), progress.pointee)
            })
        let context = Unmanaged.passRetained(self)
        var endpoints = sources.map(ray_endpoint.init)
        var options = ray_pull_options()
        options.struct_size = UInt32(MemoryLayout<ray_pull_options>.size)
        options.resume = UInt16(keepsEarlier ? RAY_RESUME_KEEP : RAY_RESUME_ANEW)
        options.patience_ns = patience.nanosecondsOrForever
        // 0 would be no limit.
        options.timeout_ns = timeout.map { max(1, $0.nanosecondsClamped) } ?? 0
        options.range_offset = range?.wanted.offset ?? 0
        options.range_size = range?.wanted.size ?? 0
        options.codec = tuning.codecNumber
        options.level = tuning.level
        options.connection_count = UInt32(clamping: tuning.connections ?? 0)
        options.chunk_size = UInt32(clamping: tuning.chunkSize?.bytes ?? 0)
        options.window_bytes = UInt64(clamping: tuning.window?.bytes ?? 0)
        options.rate_max_bytes = UInt64(clamping: tuning.rateCap?.bytes ?? 0)
        options.urgency = UInt32(urgency.value.number)
        var handle: OpaquePointer?
        let status: ray_status
        var object: ObjectID?
        switch question {
        case .object(let id):
            object = id
            status = id.withC {
                ray_pull_start(
                    transfer, &$0, &endpoints, UInt32(endpoints.count), &options, &callbacks, context.toOpaque(), &handle)
            }
        case .name(let name):
            status = name.withCString {
                options.name = $0
                return ray_pull_start(
                    transfer, nil, &endpoints, UInt32(endpoints.count), &options, &callbacks, context.toOpaque(), &handle)
            }
        }
        guard status == .ok, let handle else {
            let error = RayStoreError(status: status.rawValue, object: object)
            context.release()
            _ = range?.end(with: error)
            finish(.failure(error))
            return
        }
        let pull = CHandle(handle)
        urgency.attach(pull)
        let isCancelled = state.withLock { state in
            state.handle = pull
            return state.isCancelled
        }
        if isCancelled { ray_pull_cancel(pull.pointer) }
    }

    private func cancel() {
        let handle = state.withLock { state in
            state.isCancelled = true
            return state.handle
        }
        guard let handle else { return }
        urgency.keepHindrance()
        ray_pull_cancel(handle.pointer)
    }

    /// The engine's handle is given up when nobody can cancel any more.
    private func release() {
        urgency.detach()
        let handle = state.withLock { state in
            defer { state.handle = nil }
            return state.handle
        }
        guard let handle else { return }
        let explanation = TransferExplanation(of: handle)
        state.withLock { $0.explanation = explanation }
        ray_pull_release(handle.pointer)
    }

    private func opened(_ pull: OpaquePointer, _ card: ray_card) -> ray_status {
        state.withLock { $0.size = card.size_bytes }
        if let range { return range.open(pull, card) }
        guard card.kind == UInt32(RAY_KIND_FILE) else { return room?.open(pull, card) ?? ray_pull_into_store(pull) }
        if let refusal = admit(card.size_bytes) {
            state.withLock { $0.refusal = refusal }
            return ray_status(rawValue: refusal.code.rawValue)
        }
        let metadata = Array(UnsafeBufferPointer(start: card.metadata, count: Int(card.metadata_size)))
        let descriptor = Array(UnsafeBufferPointer(start: card.descriptor, count: Int(card.descriptor_size)))
        state.withLock { $0.place = .file(metadata: metadata, descriptor: descriptor) }
        return ray_pull_into_file(pull, partialPath)
    }

    private func done(_ status: ray_status, _ message: String, _ progress: ray_transfer_progress) {
        let failure =
            status == .ok
            ? nil : state.withLock(\.refusal) ?? RayStoreError(RayStoreError.Code(rawValue: status.rawValue), message)
        if let failure = range.map({ $0.end(with: failure) }) ?? failure {
            finish(.failure(failure))
            return
        }
        if let failure = place() {
            finish(.failure(failure))
            return
        }
        let (place, size) = state.withLock { ($0.place, $0.size) }
        finish(.success(PulledObject(place: place, size: size, progress: progress)))
    }

    private func finish(_ result: Result<PulledObject, RayStoreError>) {
        let continuation = state.withLock { state in
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(returning: result)
    }
}
