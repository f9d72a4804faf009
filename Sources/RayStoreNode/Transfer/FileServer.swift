// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
public import RayStore
internal import Synchronization

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// Serves the files below a directory by their names, without a node or a cluster.
///
/// Whoever holds the key may fetch any regular file below the directory that this process can read, and nothing outside of it. A file is sent as
/// it is when its fetch begins; one that is changed meanwhile fails its fetch with `sourceChanged`.
///
/// `@unchecked Sendable`: the C engine may be used by any thread; it is destroyed once, by `stop`.
public final class FileServer: @unchecked Sendable {
    /// What became of one fetch.
    public struct Report: Sendable {
        /// HOST:PORT of who fetched.
        public let peer: String
        public let name: String
        public let size: UInt64
        /// Less than the size when the peer had a part already, or went away.
        public let sent: UInt64
        /// Of them, what went over the network.
        public let wire: UInt64
        public let elapsed: Duration
        /// Why nothing, or not all, could be served.
        public let failure: RayStoreError?
    }

    private final class Context: Sendable {
        let directory: Int32
        let report: @Sendable (Report) -> Void

        init(directory: Int32, report: @escaping @Sendable (Report) -> Void) {
            self.directory = directory
            self.report = report
        }

        deinit {
            close(directory)
        }
    }

    private let engine: EngineHandle
    private let context: Unmanaged<Context>
    private let isStopped = Atomic(false)

    /// Where it listens.
    public let port: UInt16

    /// Starts serving.
    ///
    /// - Parameters:
    ///   - caps: what it may take of the network.
    ///   - report: told of every fetch when it is over, from the engine's threads.
    /// - Throws: `addressInUse`; `fileNotFound`, `fileNotReadable` or `notAFile` for the directory; `invalidArgument` naming a cap that is not
    ///   possible.
    public init(
        directory: String, host: String, port: UInt16, key: ClusterKey, caps: TransferCaps = .init(),
        report: @escaping @Sendable (Report) -> Void
    ) throws(RayStoreError) {
        try caps.check()
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let number = errno
            let code: RayStoreError.Code =
                switch number {
                case ENOENT: .fileNotFound
                case ENOTDIR: .notAFile
                case EACCES: .fileNotReadable
                default: .system
                }
            throw RayStoreError(
                code, "the directory \(directory) cannot be served: \(String(cString: strerror(number)))", systemErrno: number)
        }
        let context = Unmanaged.passRetained(Context(directory: descriptor, report: report))
        var options = ray_transfer_options()
        options.struct_size = UInt32(MemoryLayout<ray_transfer_options>.size)
        options.key = key.value
        options.bind_port = port
        caps.set(&options)
        options.find_named = { context, name, _, answer in
            ray_answer_beneath(answer, Unmanaged<Context>.fromOpaque(context!).takeUnretainedValue().directory, name)
        }
        options.served = { context, served in
            Unmanaged<Context>.fromOpaque(context!).takeUnretainedValue().report(Report(served.pointee))
        }
        options.context = context.toOpaque()
        var made: OpaquePointer?
        let status = host.withCString {
            options.bind_host = $0
            return ray_transfer_create(&options, &made)
        }
        guard status == .ok, let made else {
            let error = RayStoreError(status: status.rawValue)
            context.release()
            throw error
        }
        self.context = context
        engine = EngineHandle(made)
        self.port = ray_transfer_port(made)
    }

    /// Ends every fetch, and returns when nothing of the engine runs any more.
    public func stop() async {
        guard !isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        await engine.destroyAside()
        context.release()
    }
}

extension FileServer.Report {
    init(_ served: ray_served) {
        peer = String(cString: served.peer)
        name = String(cString: served.name)
        size = served.size_bytes
        sent = served.sent_bytes
        wire = served.wire_bytes
        elapsed = .nanoseconds(Int64(clamping: served.elapsed_ns))
        failure =
            served.status == .ok
            ? nil : RayStoreError(RayStoreError.Code(rawValue: served.status.rawValue), String(cString: served.message))
    }
}
