// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

extension Session {
    /// Where a node's socket is unless said otherwise: `$RAYSTORE_SOCKET`; else `$XDG_RUNTIME_DIR/raystore/node.sock`; else, where that
    /// variable is not set, `/tmp/raystore-<uid>/node.sock`.
    public static var defaultSocketPath: String {
        if let path = environment("RAYSTORE_SOCKET") { return path }
        if let directory = environment("XDG_RUNTIME_DIR") { return directory + "/raystore/node.sock" }
        return "/tmp/raystore-\(effectiveUser())/node.sock"
    }

    /// Connects to the node on this machine.
    ///
    /// - Parameters:
    ///   - socket: the node's socket; nil: ``defaultSocketPath``.
    ///   - job: a running job to join; nil: begin a new one, which ends with this session; ``JobID/none`` for a session that only looks.
    ///   - namespace: where names of objects are looked up; nil: the job's own, which no other job sees.
    ///   - access: as a ``SessionAccess/guardedReader`` the session reads only; `job` is then nil or ``JobID/none``.
    ///   - timeout: how long to try. The connect is not interrupted by cancellation.
    /// - Throws: `notRunning` when nobody answers there, `versionMismatch`, `layoutMismatch`, `tooManyClients`, `timedOut`,
    ///   `invalidArgument` (such as a job that has ended), `unsupported` or `inUse` (see ``SessionAccess/protected``), `unreachable` (the node is another user's, or does not allow this one).
    public static func connect(
        socket: String? = nil, job: JobID? = nil, namespace: String? = nil, access: SessionAccess = .full,
        timeout: Duration = .seconds(10)
    ) async throws(RayStoreError) -> Session {
        try await runBlocking { () throws(RayStoreError) in
            try connectNow(socket: socket, job: job, namespace: namespace, access: access, timeout: timeout)
        }
    }

    /// The same for code without concurrency; blocks the thread.
    @available(*, noasync, message: "use connect")
    public static func connectBlocking(
        socket: String? = nil, job: JobID? = nil, namespace: String? = nil, access: SessionAccess = .full,
        timeout: Duration = .seconds(10)
    ) throws(RayStoreError) -> Session {
        try connectNow(socket: socket, job: job, namespace: namespace, access: access, timeout: timeout)
    }

    private static func connectNow(
        socket: String?, job: JobID?, namespace: String?, access: SessionAccess, timeout: Duration
    ) throws(RayStoreError) -> Session {
        guard timeout > .zero else { throw RayStoreError(.invalidArgument, "a timeout of \(timeout) is no time to connect in") }
        if let job, job.rawValue == 0 { throw RayStoreError(.invalidArgument, "0 is not a job: jobs start at 1") }
        var client: OpaquePointer?
        let status = (socket ?? defaultSocketPath).withCString { path in
            withCString(namespace) { namespace in
                var options = ray_client_options(
                    struct_size: UInt32(MemoryLayout<ray_client_options>.size), job: job?.rawValue ?? 0,
                    socket_path: path, name_space: namespace, timeout_ns: timeout.nanosecondsClamped,
                    access: access.code)
                return ray_client_connect(&options, &client)
            }
        }
        guard status == .ok else { throw RayStoreError(status: status.rawValue) }
        guard let client else { throw RayStoreError(.system, "the C client answered success without a client") }
        return Session(client: client)
    }

    private static func withCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
        if let text { text.withCString(body) } else { body(nil) }
    }
}

extension SessionAccess {
    fileprivate var code: UInt32 {
        switch self {
        case .full: UInt32(RAY_ACCESS_FULL)
        case .guardedReader: UInt32(RAY_ACCESS_GUARDED_READER)
        case .protected: UInt32(RAY_ACCESS_PROTECTED)
        }
    }
}
