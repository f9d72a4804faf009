// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Logging
internal import RayStore
internal import Synchronization

/// The node's transfer engine: it serves what the store and the catalog have, and pulls what others have.
///
/// `@unchecked Sendable`: the C engine may be used by any thread, and its handle knows when it is gone; the finder is released once, by `stop`.
final class BulkTransfer: @unchecked Sendable {
    let engine: EngineHandle
    /// What was counted until the end.
    private let lastStats = Mutex(ray_transfer_stats())
    private let finder: Unmanaged<Finder>
    private let stopped = Atomic(false)

    let port: UInt16
    /// Why the latest pulls went as they did.
    let explanations = Explanations()
    private let log: Logger

    /// - Parameters:
    ///   - storage: what was spilled to it, or moved there, is sent from where it lies; nil: it is brought back first.
    ///   - advertisedHost: where others reach this node, as its description says; nil: where its connections come from.
    ///   - advertisedPort: nil: the port that it listens on.
    ///   - sumsAhead: whether checksums are computed before anybody asks.
    init(
        store: NodeStore, catalog: Catalog, key: ClusterKey, bindHost: String?, port: UInt16,
        storage: (any DirectStorage)? = nil, advertisedHost: String? = nil, advertisedPort: UInt16? = nil,
        caps: TransferCaps = .init(),
        disk: DiskLimits = DiskLimits(reserve: 0),
        sumsAhead: Bool = false,
        log: Logger = Logger(label: "raystore", factory: { _ in SwiftLogNoOpLogHandler() })
    ) throws(RayStoreError) {
        try caps.check()
        let finder = Unmanaged.passRetained(Finder(store: store, catalog: catalog, storage: storage))
        var made: OpaquePointer?
        let status = Self.withOptionalCStrings(bindHost, advertisedHost) { host, advertised in
            var options = ray_transfer_options()
            options.struct_size = UInt32(MemoryLayout<ray_transfer_options>.size)
            options.store = store.handle
            options.key = key.value
            options.bind_host = host
            options.bind_port = port
            caps.set(&options)
            options.disk_reserve_bytes = disk.reserve
            options.disk_watermark_permille = disk.watermarkPermille
            options.sums_ahead = sumsAhead ? 1 : 0
            options.advertise_host = advertised
            options.advertise_port = advertisedPort ?? 0
            options.find = { context, id, answer in
                Unmanaged<Finder>.fromOpaque(context!).takeUnretainedValue().find(ObjectID(c: id.pointee), answer)
            }
            options.damaged = { context, id, path, dataOffset, status, message in
                Unmanaged<Finder>.fromOpaque(context!).takeUnretainedValue().noteDamage(
                    to: ObjectID(c: id.pointee), String(cString: path), dataOffset,
                    RayStoreError(RayStoreError.Code(rawValue: status.rawValue), String(cString: message)))
            }
            options.summed = { context, id in
                Unmanaged<Finder>.fromOpaque(context!).takeUnretainedValue().catalog.noteSummed(ObjectID(c: id.pointee))
            }
            options.context = finder.toOpaque()
            return ray_transfer_create(&options, &made)
        }
        guard status == .ok, let made else {
            finder.release()
            throw RayStoreError(status: status.rawValue)
        }
        self.finder = finder
        self.log = log
        engine = EngineHandle(made)
        self.port = ray_transfer_port(made)
    }

    private static func withOptionalCStrings<R>(
        _ first: String?, _ second: String?, _ body: (UnsafePointer<CChar>?, UnsafePointer<CChar>?) -> R
    ) -> R {
        withOptionalCString(first) { first in
            withOptionalCString(second) { second in body(first, second) }
        }
    }

    private static func withOptionalCString<R>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
        guard let text else { return body(nil) }
        return text.withCString { body($0) }
    }

    /// Ends every transfer and waits for the engine's threads. Blocks.
    func stop() {
        guard !stopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let last = stats
        lastStats.withLock { $0 = last }
        engine.destroy()
        finder.release()
    }

    func forget(_ id: ObjectID) {
        _ = engine.use { handle in id.withC { ray_transfer_forget(handle, &$0) } }
    }

    var stats: ray_transfer_stats {
        var stats = ray_transfer_stats()
        stats.struct_size = UInt32(MemoryLayout<ray_transfer_stats>.size)
        guard engine.use({ ray_transfer_stats_read($0, &stats) }) else { return lastStats.withLock { $0 } }
        return stats
    }

    /// Pulls an object into the store, or a file to `partialPath`.
    ///
    /// A file goes on with what an earlier pull left there; `discardPartial` removes that when nobody wants it any more.
    ///
    /// - Parameters:
    ///   - room: where an object goes.
    ///   - patience: for how long what has come is kept while no source is to be had; nil: until the task is cancelled.
    ///   - admit: told the size of a file before it is filled; answers why it must not be.
    /// - Throws: what the sources answered; `unreachable` naming the peer; `cancelled` when the task is; `inUse` while an earlier pull of
    ///   the same file is at its last step.
    func pull(
        _ id: ObjectID, from sources: [BulkEndpoint], partialPath: String, room: StoreAdmission? = nil,
        patience: Duration? = PullOperation.patience,
        admit: @escaping @Sendable (UInt64) -> RayStoreError? = { _ in nil },
        tuning: TransferTuning = .init(), urgency: PullUrgency = PullUrgency(.get),
        progress: @escaping @Sendable (ray_transfer_progress) -> Void
    ) async throws(RayStoreError) -> PulledObject {
        let operation = PullOperation(
            into: partialPath, tuning: tuning, urgency: urgency, room: room, patience: patience, admit: admit, progress: progress)
        defer { note(operation, of: id) }
        return try await operation.run(.object(id), from: sources, on: engine)
    }

    /// Pulls a part of an object or a file into an object of its own.
    ///
    /// - Returns: the size of all of it.
    /// - Throws: as `pull`; `storeFull`.
    func pull(
        _ range: StoredRange, of id: ObjectID, from sources: [BulkEndpoint], tuning: TransferTuning, urgency: PullUrgency,
        progress: @escaping @Sendable (ray_transfer_progress) -> Void
    ) async throws(RayStoreError) -> UInt64 {
        let operation = PullOperation(
            of: range, tuning: tuning, urgency: urgency, progress: progress)
        defer { note(operation, of: id) }
        return try await operation.run(.object(id), from: sources, on: engine).size
    }

    private func note(_ operation: PullOperation, of id: ObjectID) {
        guard let explanation = operation.explanation else { return }
        explanations.note(explanation, of: id)
        log.debug("pulled", metadata: ["object": "\(id)", "explanation": "\(explanation.text)"])
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
