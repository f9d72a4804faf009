// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// A process's connection to the store: it puts and gets objects, in the memory that its node shares with it.
///
/// ```swift
/// let session = try await Session.connect()
/// let ref = try session.put([1.0, 2.0, 3.0])
/// let values = try await session.get(ref)
/// await session.close()
/// ```
///
/// What came out of a session ends with it: its refs are dropped when it closes, and, if it is the driver, the job's objects go. Keep the
/// session as long as its refs are used. A session may be used by any number of tasks and threads; it does not survive a `fork`.
public final class Session: Sendable {
    let handle: ClientHandle

    /// The job that this session began or joined.
    public let job: JobID
    /// The number of the node that it is connected to, unique in the cluster.
    public let nodeNumber: UInt32
    /// Whether the job ends with this session.
    public let isDriver: Bool
    public let nodeID: NodeID

    /// Takes a connected client over.
    init(client: OpaquePointer) {
        let info = ray_client_info(client).pointee
        job = JobID(rawValue: info.job)
        nodeNumber = info.node_number
        isDriver = info.is_driver
        nodeID = NodeID(bytesOf: info.node_id)
        handle = ClientHandle(client: client)
    }

    deinit {
        handle.beginClose()
    }

    /// Ends the session. Requests on their way fail with `closed`, refs are dropped.
    ///
    /// What is pinned stays readable: while a `PinnedObject`, `Bytes` or `RayFile` of this session exists the node keeps the session, and
    /// this call does not wait for that. Otherwise it returns when the node has been told and an embedded node has stopped. Closing
    /// twice does nothing more. Without a call the session ends when the last reference to it goes.
    public func close() async {
        handle.beginClose()
        if !handle.hasPins {
            await handle.waitUntilClosed()
        }
    }

    public var isClosed: Bool { handle.isClosing }

    /// Runs once the session is closed, also when that happens by itself. The embedded node stops here.
    package func onClose(_ body: @escaping @Sendable () async -> Void) {
        handle.onClose(body)
    }
}

extension NodeID {
    fileprivate init<Raw>(bytesOf raw: Raw) {
        let digits = Array("0123456789abcdef")
        let text = withUnsafeBytes(of: raw) { bytes in
            String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
        }
        self.init(text)!
    }
}
