// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// The jobs that this node has to do with, and from them: who owns an object.
///
/// The owner is read from the id: what a driver put belongs to the node the driver ran on, which the control store knows; what
/// another session put names its node's number.
actor Jobs {
    private let me: NodeID
    private let control: any ControlStore
    private let peers: Peers
    private var known: [JobID: JobRecord] = [:]
    private var nextSerial: UInt32

    init(me: NodeID, control: any ControlStore, peers: Peers) {
        self.me = me
        self.control = control
        self.peers = peers
        nextSerial = 1
    }

    func begin(namespace: String?) async throws(RayStoreError) -> JobRecord {
        let record = try await control.beginJob(driverNode: me, namespace: namespace)
        known[record.job] = record
        return record
    }

    /// The record of a running job that a further session wants to join.
    func join(_ job: JobID) async throws(RayStoreError) -> JobRecord {
        guard let record = try await control.job(job) else {
            throw RayStoreError(
                .invalidArgument, "there is no job \(job) in this cluster: join a running job, or begin one with 0")
        }
        guard record.isRunning else {
            throw RayStoreError(.invalidArgument, "job \(job) has ended: join a running job, or begin one with 0")
        }
        known[job] = record
        return record
    }

    /// A number that no session of this node has had. The node's own number is new in each of its lives.
    func takeSerial() -> UInt32 {
        defer { nextSerial += 1 }
        return nextSerial
    }

    func end(_ job: JobID) async throws(RayStoreError) {
        noteEnd(of: job)
        try await control.endJob(job)
    }

    func noteEnd(of job: JobID) {
        known[job]?.isRunning = false
    }

    /// The node that owns an object, alive or not.
    ///
    /// - Throws: `notFound` when no such job or node was ever in the cluster; `ownerDied` when the owner is not in it any more.
    func owner(of id: ObjectID) async throws(RayStoreError) -> NodeID {
        if let number = id.nodeNumber {
            if peers[number: number] == nil { try await peers.refresh() }
            if let node = peers[number: number] { return node.id }
            throw RayStoreError(
                .ownerDied, "the owner of \(id), node number \(number), is not in the cluster (any more)", object: id)
        }
        var record = known[id.job]
        if record == nil {
            record = try await control.job(id.job)
            if let record { known[id.job] = record }
        }
        guard let record else {
            throw RayStoreError(
                .notFound, "no object \(id): this cluster has had no job \(id.job); is the ref another cluster's?", object: id)
        }
        if peers[record.driverNode] == nil { try await peers.refresh() }
        if peers[record.driverNode] == nil {
            throw RayStoreError(
                .ownerDied, "the owner of \(id), node \(record.driverNode.short), is not in the cluster any more", object: id)
        }
        return record.driverNode
    }
}
