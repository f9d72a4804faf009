// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// The transport of a node that is alone.
public struct NoTransport: Transport {
    public init() {}

    public func call(_ request: PeerRequest, on node: NodeDescription) async throws(RayStoreError) -> PeerAnswer {
        throw RayStoreError(.unreachable, "this node is alone; node \(node.id.short) at \(node.host) is in no cluster with it")
    }
}
