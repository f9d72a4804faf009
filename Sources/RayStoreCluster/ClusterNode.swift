// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Logging
public import RayStore
public import RayStoreNode

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// A node with its place in a cluster: its control port, its ways to the others, and at the head the control store.
///
/// ```swift
/// let head = try await ClusterNode.startHead(ClusterOptions(node: NodeOptions(stateDirectory: "/tmp/head")))
/// // On another machine, with a copy of the key file:
/// var options = ClusterOptions(node: NodeOptions(stateDirectory: "/tmp/worker"))
/// options.keyFile = "cluster.key"
/// let worker = try await ClusterNode.join(try HostPort("10.0.0.5:6380"), options)
/// ```
public final class ClusterNode: Sendable {
    public let node: Node
    /// Where the cluster's key is.
    public let keyFile: String
    /// Where other nodes reach this one's control port; what they join by, when this is the head.
    public let address: HostPort
    public let isHead: Bool

    private let control: Control
    private let server: ControlServer
    private let transport: GRPCTransport
    /// Closes the ways to nodes that went.
    private let follow: Task<Void, Never>
    private let heartbeat: HeartbeatSender?
    private let isStopping: Flag

    /// The cluster's memory: here, or at the head.
    private enum Control {
        case embedded(EmbeddedControlStore)
        case remote(RemoteControlStore)

        var store: any ControlStore {
            switch self {
            case .embedded(let store): store
            case .remote(let store): store
            }
        }

        func close() async {
            switch self {
            case .embedded(let store): await store.close()
            case .remote(let store): await store.close()
            }
        }
    }

    /// Starts the first node of a cluster. What an earlier head left in the state directory is taken over: jobs, names, numbers.
    ///
    /// - Throws: `addressInUse` naming the port; `inUse` when another head has the state directory; `keyUnusable`; what `Node.start` throws.
    public static func startHead(_ options: ClusterOptions) async throws(RayStoreError) -> ClusterNode {
        let key = try await runBlocking { () throws(RayStoreError) in try makeOrLoadKey(options) }
        let id = NodeID.random()
        let store = try await EmbeddedControlStore.open(
            path: options.node.stateDirectory + "/control.sqlite", ownNode: id, timing: options.timing,
            clusterStorage: options.clusterStorage)
        return try await start(
            options, id: id, key: key, control: .embedded(store), port: options.controlPort ?? ClusterOptions.defaultHeadPort)
    }

    /// Starts a node and joins the cluster of a head.
    ///
    /// - Throws: `unreachable` when the head does not answer; `keyRefused` when it has another key; `versionMismatch`; `keyUnusable` when there is
    ///   no key file or it cannot be trusted; what `Node.start` throws.
    public static func join(_ head: HostPort, _ options: ClusterOptions) async throws(RayStoreError) -> ClusterNode {
        let key = try await runBlocking { () throws(RayStoreError) in try loadKey(options) }
        return try await start(
            options, id: .random(), key: key, control: .remote(RemoteControlStore(head: head, key: key)),
            port: options.controlPort ?? 0)
    }

    /// Ends the node in good order: its objects go everywhere, it leaves the cluster, its ports close. May be called again.
    public func stop() async {
        guard !isStopping.set() else { return }
        // Heartbeats go on until the node has left: its leaving may take longer than silence is allowed to last.
        await node.stop()
        await heartbeat?.stop()
        follow.cancel()
        await follow.value
        await control.close()
        await server.stop()
        await transport.close()
    }

    /// Connections to the control port that did not prove the cluster's key since the start.
    public var refusedConnections: UInt64 { server.connections.refused }

    // MARK: Starting

    private static func start(
        _ options: ClusterOptions, id: NodeID, key: ClusterKey, control: Control, port: UInt16
    ) async throws(RayStoreError) -> ClusterNode {
        let server: ControlServer
        let host: String
        do throws(RayStoreError) {
            host = try advertised(options)
            let served: EmbeddedControlStore? = if case .embedded(let store) = control { store } else { nil }
            server = try await ControlServer.start(host: options.bindHost, port: port, key: key, control: served)
        } catch {
            await control.close()
            throw error
        }
        let transport = GRPCTransport(sender: id, key: key)
        var nodeOptions = options.node
        nodeOptions.bindHost = options.bindHost
        let isHead = if case .embedded = control { true } else { false }
        do throws(RayStoreError) {
            let storage = try await storage(options, control.store)
            let node = try await Node.start(
                nodeOptions, id: id, advertisedHost: host, controlPort: server.port, key: key, control: control.store,
                transport: transport, clock: SystemClock(), storage: storage, isHead: isHead)
            server.serve(node)
            return ClusterNode(
                node: node, options: options, address: HostPort(host: host, port: server.port), control: control,
                server: server, transport: transport)
        } catch {
            await control.close()
            await server.stop()
            await transport.close()
            throw error
        }
    }

    /// What the node spills to; asks the head for what that depends on.
    private static func storage(
        _ options: ClusterOptions, _ control: any ControlStore
    ) async throws(RayStoreError) -> any ExternalStorage {
        if let makeStorage = options.makeStorage { return try await makeStorage(try await control.clusterInfo()) }
        return options.storage ?? FilesystemStorage(directories: [options.node.stateDirectory + "/spill"], owner: "node")
    }

    private init(
        node: Node, options: ClusterOptions, address: HostPort, control: Control, server: ControlServer, transport: GRPCTransport
    ) {
        self.node = node
        self.keyFile = options.resolvedKeyFile
        self.address = address
        self.control = control
        self.server = server
        self.transport = transport
        let isStopping = Flag()
        self.isStopping = isStopping
        let events = control.store.events()
        follow = Task {
            for await event in events {
                if case .nodeGone(let gone) = event { await transport.forget(gone) }
            }
        }
        switch control {
        case .embedded:
            // The store knows that its own node lives.
            heartbeat = nil
            isHead = true
        case .remote(let store):
            isHead = false
            heartbeat = HeartbeatSender(node.description.id, to: store, every: options.heartbeatEvery) {
                if isStopping.isSet { return }
                do throws(RayStoreError) {
                    try await node.rejoin()
                } catch {
                    // The next heartbeat finds the node unknown again, and this is tried again.
                    Logger(label: "raystore.cluster").debug("cannot join again", metadata: ["reason": "\(error.message)"])
                }
            }
        }
    }

    /// The address to tell the others. All of a machine's addresses together are none that one can go to.
    private static func advertised(_ options: ClusterOptions) throws(RayStoreError) -> String {
        if let host = options.advertisedHost { return host }
        guard options.bindHost != "0.0.0.0" && options.bindHost != "::" else {
            throw RayStoreError(
                .invalidArgument,
                "a node that listens on all addresses (\(options.bindHost)) must be told by which one the others reach it")
        }
        return options.bindHost
    }

    private static func makeOrLoadKey(_ options: ClusterOptions) throws(RayStoreError) -> ClusterKey {
        try RayStoreError.check { ray_directory_make_private(options.node.stateDirectory).rawValue }
        do throws(RayStoreError) {
            return try ClusterKey.load(options.resolvedKeyFile)
        } catch  where error.systemErrno == ENOENT {
            return try ClusterKey.create(options.resolvedKeyFile)
        }
    }

    private static func loadKey(_ options: ClusterOptions) throws(RayStoreError) -> ClusterKey {
        do throws(RayStoreError) {
            return try ClusterKey.load(options.resolvedKeyFile)
        } catch  where error.systemErrno == ENOENT {
            throw RayStoreError(
                .keyUnusable,
                "there is no key file \(options.resolvedKeyFile); copy the head's to it (cluster.key in its state directory), mode 0600",
                systemErrno: error.systemErrno)
        }
    }
}
