// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

extension ClientHandle {
    /// Ends an object that only processes of this machine have seen, by shared memory alone.
    ///
    /// The node's ref on the entry says that it knows the object: others may have it, or it may be a file or be contained in another. Then, and
    /// when that comes to be so meanwhile, it is the node that ends it.
    ///
    /// - Returns: false when the node has to be asked.
    func freeIfUnknownToNode(_ ref: AnyObjectRef) throws(RayStoreError) -> Bool {
        guard !isGuarded, !ref.hasRegistration else { return false }
        return try withStore { store throws(RayStoreError) in
            var info = ray_object_info()
            return ref.id.withC { id in
                guard ray_object_stat(store, &id, &info) == .ok, info.state == UInt32(RAY_STATE_SEALED), !info.node_has_ref else {
                    return false
                }
                guard ray_object_delete(store, &id, .objectFreed) == .ok else { return false }
                // The node takes its ref before it tells anybody, so what it told before the end shows here.
                return ray_object_stat(store, &id, &info) != .ok || !info.node_has_ref
            }
        }
    }
}
