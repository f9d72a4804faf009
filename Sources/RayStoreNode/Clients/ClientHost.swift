// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// What the clients' socket tells the node. Called on the host's one thread, in order; must not block.
protocol ClientHostDelegate: AnyObject, Sendable {
    func attached(_ client: UInt64, _ attach: ClientAttach)
    func requested(_ client: UInt64, requestID: UInt64, kind: UInt16, payload: [UInt8])
    func cancelled(_ client: UInt64, requestID: UInt64)
    func detached(_ client: UInt64)
}

struct ClientAttach: Sendable {
    let pid: Int64
    let slot: ClientSlot
    /// Nil for a new job.
    let job: JobID?
    /// Nil for the job's own.
    let namespace: String?
}

/// The Unix socket of the node's clients.
///
/// `@unchecked Sendable`: the C host may be used by any thread until it is stopped, which `gate` sees to.
final class ClientHost: @unchecked Sendable {
    private let handle: OpaquePointer
    /// Whether the host is stopped. Held while it is used: what is answered too late is dropped instead of reaching a host that is gone.
    private let gate = Mutex(false)
    private let context: Unmanaged<Context>

    private final class Context: Sendable {
        let delegate: any ClientHostDelegate

        init(_ delegate: any ClientHostDelegate) {
            self.delegate = delegate
        }

        static func of(_ pointer: UnsafeMutableRawPointer?) -> any ClientHostDelegate {
            Unmanaged<Context>.fromOpaque(pointer!).takeUnretainedValue().delegate
        }
    }

    init(
        socketPath: String, readers: ReaderOptions?, store: NodeStore, delegate: any ClientHostDelegate
    ) throws(RayStoreError) {
        let context = Unmanaged.passRetained(Context(delegate))
        let callbacks = ray_host_callbacks(
            attached: { context, client, request in
                let request = request.pointee
                let namespace = String(cString: request.name_space)
                Context.of(context).attached(
                    client,
                    ClientAttach(
                        pid: request.pid, slot: ClientSlot(number: request.slot, serial: request.slot_serial),
                        job: request.job == 0 ? nil : JobID(rawValue: request.job),
                        namespace: namespace.isEmpty ? nil : namespace))
            },
            requested: { context, client, requestID, kind, payload, size in
                let bytes = Array(UnsafeRawBufferPointer(start: payload, count: size))
                Context.of(context).requested(client, requestID: requestID, kind: kind, payload: bytes)
            },
            cancelled: { context, client, requestID in
                Context.of(context).cancelled(client, requestID: requestID)
            },
            detached: { context, client, _ in
                Context.of(context).detached(client)
            })
        var made: OpaquePointer?
        let status = socketPath.withCString { path in
            var options = ray_host_options(
                struct_size: UInt32(MemoryLayout<ray_host_options>.size), socket_path: path, store: store.handle,
                callbacks: callbacks, context: context.toOpaque(), reader_socket_path: nil, reader_uids: nil,
                reader_uid_count: 0, reader_count_max: 0)
            guard let readers else { return ray_host_start(&options, &made) }
            return readers.socketPath.withCString { readerPath in
                readers.users.withUnsafeBufferPointer { users in
                    options.reader_socket_path = readerPath
                    options.reader_uids = users.baseAddress
                    options.reader_uid_count = UInt32(users.count)
                    options.reader_count_max = UInt32(clamping: readers.limit)
                    return ray_host_start(&options, &made)
                }
            }
        }
        guard status == .ok, let made else {
            context.release()
            throw RayStoreError(status: status.rawValue)
        }
        handle = made
        self.context = context
    }

    func welcome(_ client: UInt64, slot: ClientSlot, job: JobID, task: ray_task_id, isDriver: Bool, node: NodeDescription) {
        var info = ray_session_info()
        info.job = job.rawValue
        info.node_number = node.number
        info.slot = slot.number
        info.is_driver = isDriver
        info.task = task
        withUnsafeMutableBytes(of: &info.node_id) { $0.copyBytes(from: node.id.bytes) }
        whileOpen { ray_host_welcome(handle, client, &info) }
    }

    func refuse(_ client: UInt64, _ error: RayStoreError) {
        whileOpen { ray_host_refuse(handle, client, ray_status(rawValue: error.code.rawValue), error.message) }
    }

    func reply(_ client: UInt64, _ requestID: UInt64, _ result: Result<[UInt8], RayStoreError>) {
        switch result {
        case .success(let payload):
            whileOpen { ray_host_reply(handle, client, requestID, .ok, "", payload, payload.count) }
        case .failure(let error):
            // A failure that is about an object names it in the payload.
            let payload = error.object?.bytes ?? []
            whileOpen {
                ray_host_reply(
                    handle, client, requestID, ray_status(rawValue: error.code.rawValue), error.message, payload, payload.count)
            }
        }
    }

    func progress(_ client: UInt64, _ requestID: UInt64, of id: ObjectID, _ progress: ray_transfer_progress) {
        var progress = progress
        whileOpen { id.withC { ray_host_progress(handle, client, requestID, &$0, &progress) } }
    }

    private func whileOpen(_ body: () -> Void) {
        gate.withLock { isStopped in
            if !isStopped { body() }
        }
    }

    /// Closes every client, waits for the host's thread. Blocks. Call once.
    func stop() {
        gate.withLock { $0 = true }
        ray_host_stop(handle)
        context.release()
    }
}
