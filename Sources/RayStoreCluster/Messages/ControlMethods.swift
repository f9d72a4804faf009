// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import RayStore
internal import RayStoreNode

/// What the head serves.
enum ControlMethods {
    static let service = ServiceDescriptor(fullyQualifiedService: "raystore.Control")

    static let cluster = Method<Nothing, ClusterInfo>(service, "Cluster")
    static let join = Method<NodeDescription, NodeDescription>(service, "Join")
    static let leave = Method<NodeID, Nothing>(service, "Leave")
    static let heartbeat = Method<NodeID, Bool>(service, "Heartbeat")
    static let nodes = Method<Nothing, [NodeDescription]>(service, "Nodes")
    // A second one would be another job, which nobody ends.
    static let beginJob = Method<JobRequest, JobRecord>(service, "BeginJob", isRepeatable: false)
    static let endJob = Method<JobID, Nothing>(service, "EndJob")
    static let job = Method<JobID, JobAnswer>(service, "Job")
    static let bind = Method<NameRecord, Nothing>(service, "Bind")
    static let find = Method<NameRequest, ObjectID>(service, "Find")
    // A second one would say that there is no such name.
    static let unbind = Method<NameRequest, ObjectID>(service, "Unbind", isRepeatable: false)
    static let unbindAll = Method<ObjectID, Nothing>(service, "UnbindAll")
    static let names = Method<NamesRequest, [NameRecord]>(service, "Names")
    static let events = Method<Nothing, ClusterEvent>(service, "Events", streams: true)
}

/// What every node serves.
enum PeerMethods {
    static let service = ServiceDescriptor(fullyQualifiedService: "raystore.Peer")

    static let handle = Method<PeerCall, PeerAnswer>(service, "Handle")
}

struct JobRequest: Codable, Sendable {
    let driverNode: NodeID
    let namespace: String?
}

struct JobAnswer: Codable, Sendable {
    let job: JobRecord?
}

struct NameRequest: Codable, Sendable {
    let name: String
    let namespace: String
}

struct NamesRequest: Codable, Sendable {
    let namespace: String?
}

/// A request and who asks.
struct PeerCall: Codable, Sendable {
    let sender: NodeID
    let request: PeerRequest
}
