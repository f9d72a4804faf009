// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStoreCluster
internal import RayStoreNode

/// What a node that has just started says to whoever started it; also the document that `raystore start --json` prints.
struct NodeLaunch: Codable, Sendable {
    var node: NodeDescription
    var isHead: Bool
    var pid: Int32
    var socket: String
    var stateDirectory: String
    var keyFile: String
    var log: String?
    /// Storages that are not configured any more, where earlier lives of the node have left files.
    var leftStorages: [LeftStorage] = []

    /// Where the node takes control messages.
    var hostPort: HostPort { HostPort(host: node.host, port: node.controlPort) }
    var address: String { hostPort.description }
}

/// The line through which a starting node tells its parent how it went: one JSON document, then the end of the pipe.
enum Readiness: Codable, Sendable {
    case ready(NodeLaunch)
    case failed(String)

    /// The descriptor that the parent hands down.
    static let descriptor: Int32 = 3

    /// Tells the parent and closes the pipe. A parent that is gone does not matter: the node runs on.
    func tell() {
        if let data = try? JSONEncoder().encode(self) {
            _ = data.withUnsafeBytes { Console.writeAll($0, to: Self.descriptor) }
        }
        close(Self.descriptor)
    }
}
