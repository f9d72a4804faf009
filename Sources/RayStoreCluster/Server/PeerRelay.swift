// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import RayStore
internal import RayStoreNode
internal import Synchronization

/// Hands what other nodes ask to this node, which comes after its server: a node can only be described once its port is known.
final class PeerRelay: RegistrableRPCService {
    private let peer = Mutex<(any PeerService)?>(nil)

    func serve(_ service: (any PeerService)?) {
        peer.withLock { $0 = service }
    }

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.register(PeerMethods.handle) { [self] call throws(RayStoreError) in
            guard let peer = peer.withLock({ $0 }) else {
                // Callers try an unreachable node again.
                throw RayStoreError(.unreachable, "the node there is still starting or is shutting down; try again")
            }
            return try await peer.handle(call.request, from: call.sender)
        }
    }
}
