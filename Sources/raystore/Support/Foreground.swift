// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore
internal import RayStoreCluster
internal import RayStoreNode

/// Runs a node in this process until somebody wants it to end.
enum Foreground {
    private enum End: Sendable {
        case signal(Int32)
        case requested
        case inputEnded
    }

    static func run(_ setup: NodeSetup, json: Bool, tellsParent: Bool, isLeashed: Bool) async throws {
        let (ends, ending) = AsyncStream.makeStream(of: End.self)
        // From before the start: a signal during it must not leave anything half-made.
        let watch = SignalWatch { ending.yield(.signal($0)) }
        defer { watch.cancel() }
        // Where the tool was called is not to be held busy by a daemon; every path is absolute by now.
        if tellsParent { _ = chdir("/") }
        let node: ClusterNode
        var isNew = false
        do {
            isNew = try setup.stateDirectory.makePrivate()
            node = try await start(setup)
        } catch {
            // With a parent it is the parent's directory: there is a log in it.
            if isNew { setup.stateDirectory.removeAfterFailure() }
            if tellsParent { Readiness.failed(reason(error)).tell() }
            throw error
        }
        let launch = NodeLaunch(
            node: node.node.description, isHead: setup.isHead, pid: getpid(), socket: node.node.socketPath,
            stateDirectory: setup.stateDirectory.path, keyFile: setup.keyFile,
            leftStorages: node.node.leftStorages)
        if tellsParent {
            Readiness.ready(launch).tell()
        } else {
            try? StartCommand.say(launch, setup, json: json)
        }
        let request = Task {
            await node.node.waitForStopRequest()
            ending.yield(.requested)
        }
        if isLeashed { Thread.detachNewThread { waitForEnd(of: STDIN_FILENO) { ending.yield(.inputEnded) } } }
        for await _ in ends { break }
        request.cancel()
        await node.stop()
    }

    private static func waitForEnd(of descriptor: Int32, _ body: () -> Void) {
        var byte: UInt8 = 0
        var count = 1
        while count > 0 || (count < 0 && errno == EINTR) { count = read(descriptor, &byte, 1) }
        body()
    }

    private static func start(_ setup: NodeSetup) async throws(RayStoreError) -> ClusterNode {
        var nodeOptions = NodeOptions(stateDirectory: setup.stateDirectory.path, capacity: UInt64(setup.memory.bytes))
        nodeOptions.bulkPort = setup.bulkPort
        nodeOptions.caps = setup.caps
        nodeOptions.sumsAhead = setup.sumsAhead
        setup.disk.set(&nodeOptions)
        setup.quotas.set(&nodeOptions)
        try setup.spill.set(&nodeOptions)
        nodeOptions.readers = setup.readers
        nodeOptions.prefault = setup.prefault.map { UInt64($0.bytes) }
        nodeOptions.advertisedBulkPort = setup.advertisedBulkPort
        var options = ClusterOptions(node: nodeOptions)
        let (spill, directory) = (setup.spill, setup.stateDirectory.path)
        options.clusterStorage = spill.clusterStorage
        if try spill.asksCluster() {
            options.makeStorage = { cluster async throws(RayStoreError) in
                try await runBlocking { () throws(RayStoreError) in try spill.storage(in: directory, cluster: cluster) }
            }
        } else {
            options.storage = try await runBlocking { () throws(RayStoreError) in try spill.storage(in: directory) }
        }
        options.keyFile = setup.keyFile
        options.bindHost = setup.host
        options.controlPort = setup.port
        switch setup.role {
        case .head: return try await ClusterNode.startHead(options)
        case .member(let head): return try await ClusterNode.join(head, options)
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as RayStoreError: error.message
        case let failure as Failure: failure.message
        default: "\(error)"
        }
    }
}

extension NodeSetup {
    var isHead: Bool {
        if case .head = role { true } else { false }
    }
}
