// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// The node's transfer engine: it serves what the store and the catalog have, and pulls what others have.
///
/// `@unchecked Sendable`: the C engine may be used by any thread; it is destroyed once, by `stop`.
final class BulkTransfer: @unchecked Sendable {
    private let handle: OpaquePointer
    private let finder: Unmanaged<Finder>
    private let stopped = Atomic(false)

    let port: UInt16

    init(
        store: NodeStore, catalog: Catalog, key: ClusterKey, bindHost: String?, port: UInt16
    ) throws(RayStoreError) {
        let finder = Unmanaged.passRetained(Finder(store: store, catalog: catalog))
        var made: OpaquePointer?
        let status = Self.withOptionalCString(bindHost) { host in
            var options = ray_transfer_options()
            options.struct_size = UInt32(MemoryLayout<ray_transfer_options>.size)
            options.store = store.handle
            options.key = key.value
            options.bind_host = host
            options.bind_port = port
            options.find = { context, id, answer in
                Unmanaged<Finder>.fromOpaque(context!).takeUnretainedValue().find(ObjectID(c: id.pointee), answer)
            }
            options.context = finder.toOpaque()
            return ray_transfer_create(&options, &made)
        }
        guard status == .ok, let made else {
            finder.release()
            throw RayStoreError(status: status.rawValue)
        }
        self.finder = finder
        handle = made
        self.port = ray_transfer_port(made)
    }

    private static func withOptionalCString<R>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
        guard let text else { return body(nil) }
        return text.withCString { body($0) }
    }

    /// Ends every transfer and waits for the engine's threads. Blocks.
    func stop() {
        guard !stopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        ray_transfer_destroy(handle)
        finder.release()
    }

    func forget(_ id: ObjectID) {
        id.withC { ray_transfer_forget(handle, &$0) }
    }

    var stats: ray_transfer_stats {
        var stats = ray_transfer_stats()
        stats.struct_size = UInt32(MemoryLayout<ray_transfer_stats>.size)
        ray_transfer_stats_read(handle, &stats)
        return stats
    }

    /// Pulls an object into the store, or a file to `partialPath`.
    ///
    /// - Throws: what the sources answered; `unreachable` naming the peer; `cancelled` when the task is.
    func pull(
        _ id: ObjectID, from sources: [BulkEndpoint], partialPath: String,
        progress: @escaping @Sendable (ray_transfer_progress) -> Void
    ) async throws(RayStoreError) -> PulledObject {
        let operation = PullOperation(partialPath: partialPath, progress: progress)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                operation.start(id, from: sources, on: handle, continuation)
            }
        } onCancel: {
            operation.cancel()
        }
        operation.release()
        return try result.get()
    }
}

/// What a pull brought.
struct PulledObject: Sendable {
    enum Place: Sendable {
        /// Sealed in the store.
        case store
        /// Complete at the partial path, with what its owner's descriptor says.
        case file(metadata: [UInt8], descriptor: [UInt8])
    }

    let place: Place
    let size: UInt64
    let progress: ray_transfer_progress
}

/// Answers the engine's questions from the store and the catalog.
private final class Finder: Sendable {
    let store: NodeStore
    let catalog: Catalog

    init(store: NodeStore, catalog: Catalog) {
        self.store = store
        self.catalog = catalog
    }

    func find(_ id: ObjectID, _ answer: OpaquePointer) -> ray_status {
        var isHere = true
        var absence: RayStoreError?
        if let file = catalog.file(id) {
            ray_answer_file(
                answer, file.path, file.size, file.modifiedNanoseconds, file.metadata, file.metadata.count,
                file.descriptor, file.descriptor.count)
        } else {
            let entry = store.entry(of: id)
            switch entry?.state {
            case .sealed:
                ray_answer_object(answer)
            case .creating:
                isHere = false
                absence = RayStoreError(.notSealed, "object \(id) is not sealed yet", object: id)
            case .failed:
                isHere = false
                absence = RayStoreError(entry!.failure, "object \(id): \(entry!.failure.text)", object: id)
            default:
                isHere = false
            }
        }
        let holders = catalog.holders(of: id)
        for holder in holders {
            ray_answer_holder(answer, holder.host, holder.port)
        }
        if isHere || !holders.isEmpty { return .ok }
        let reason = absence ?? catalog.absence(of: id)
        ray_answer_message(answer, reason.message)
        return ray_status(rawValue: reason.code.rawValue)
    }
}

/// One pull on its way between the engine's threads and the task that waits.
///
/// `@unchecked Sendable`: the mutable part is behind the mutex; the C handle may be used by any thread.
private final class PullOperation: @unchecked Sendable {
    private struct State {
        var handle: CHandle?
        var isCancelled = false
        var continuation: CheckedContinuation<Result<PulledObject, RayStoreError>, Never>?
        var place = PulledObject.Place.store
        var size: UInt64 = 0
    }

    private let state = Mutex(State())
    private let partialPath: String
    private let progress: @Sendable (ray_transfer_progress) -> Void

    init(partialPath: String, progress: @escaping @Sendable (ray_transfer_progress) -> Void) {
        self.partialPath = partialPath
        self.progress = progress
    }

    func start(
        _ id: ObjectID, from sources: [BulkEndpoint], on transfer: OpaquePointer,
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
        var handle: OpaquePointer?
        let status = id.withC {
            ray_pull_start(
                transfer, &$0, &endpoints, UInt32(endpoints.count), nil, &callbacks, context.toOpaque(), &handle)
        }
        if status != .ok {
            let error = RayStoreError(status: status.rawValue, object: id)
            context.release()
            finish(.failure(error))
            return
        }
        let pull = CHandle(handle!)
        let isCancelled = state.withLock { state in
            state.handle = pull
            return state.isCancelled
        }
        if isCancelled { ray_pull_cancel(pull.pointer) }
    }

    func cancel() {
        let handle = state.withLock { state in
            state.isCancelled = true
            return state.handle
        }
        if let handle { ray_pull_cancel(handle.pointer) }
    }

    /// The engine's handle is given up when nobody can cancel any more.
    func release() {
        let handle = state.withLock { state in
            defer { state.handle = nil }
            return state.handle
        }
        ray_pull_release(handle?.pointer)
    }

    private func opened(_ pull: OpaquePointer, _ card: ray_card) -> ray_status {
        state.withLock { $0.size = card.size_bytes }
        guard card.kind == UInt32(RAY_KIND_FILE) else { return ray_pull_into_store(pull) }
        let metadata = Array(UnsafeBufferPointer(start: card.metadata, count: Int(card.metadata_size)))
        let descriptor = Array(UnsafeBufferPointer(start: card.descriptor, count: Int(card.descriptor_size)))
        state.withLock { $0.place = .file(metadata: metadata, descriptor: descriptor) }
        return ray_pull_into_file(pull, partialPath)
    }

    private func done(_ status: ray_status, _ message: String, _ progress: ray_transfer_progress) {
        guard status == .ok else {
            finish(.failure(RayStoreError(RayStoreError.Code(rawValue: status.rawValue), message)))
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

extension ray_endpoint {
    init(_ endpoint: BulkEndpoint) {
        self.init()
        port = endpoint.port
        withUnsafeMutableBytes(of: &host) { field in
            // The field is zeroed, so a host of full length still ends with NUL.
            field.copyBytes(from: endpoint.host.utf8.prefix(Int(RAY_HOST_MAX) - 1))
        }
    }
}
