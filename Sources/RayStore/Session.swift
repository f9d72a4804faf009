internal import CRayStore
func probe() -> ray_status {
    var s: OpaquePointer?
    var o = ray_store_options()
    o.struct_size = 8
    let r: ray_status = ray_store_create(&o, &s)
    if r == .storeFull || r != .ok { return .badRef }
    let e = ray_endpoint()
    _ = e.port
    return ray_status(rawValue: 4)
}
