// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// What a RayFile from a get holds: the pin, which keeps the local file, and the ref, which keeps the object.
final class FetchedFile: Sendable {
    let path: String
    let name: String
    let size: ByteCount
    let modified: Duration
    let isCopy: Bool
    private let pin: SharedPin
    private let ref: AnyObjectRef

    /// - Throws: `corrupt` when the object does not read as a file; `sourceChanged` when it was put by reference and is not what it was.
    init(pin: SharedPin, ref: AnyObjectRef) throws(RayStoreError) {
        self.pin = pin
        self.ref = ref
        let descriptor = try withExtendedLifetime(pin) { () throws(RayStoreError) in
            try FileDescriptor(unsafe: pin.pin.unsafeData, of: ref.id)
        }
        if !descriptor.isCopy {
            // Anybody may have changed it, so the store cannot vouch for it: this get looks.
            try RayStoreError.check(object: ref.id) {
                ray_file_unchanged(descriptor.path, descriptor.size, descriptor.modifiedNanoseconds).rawValue
            }
        }
        path = descriptor.path
        name = descriptor.name
        size = ByteCount(Int(clamping: descriptor.size))
        modified = .nanoseconds(descriptor.modifiedNanoseconds)
        isCopy = descriptor.isCopy
    }
}
