// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// A pinned object: its memory stays as it is until the pin is gone. Keeps the store mapped, also beyond the session's close.
///
/// @unchecked: the memory is read-only, and only `deinit` changes the view.
struct Pin: ~Copyable, @unchecked Sendable {
    let id: ObjectID
    private let handle: ClientHandle
    private var view: ray_object_view

    /// Takes over a view and one `enter(as: pin)` of the handle.
    init(id: ObjectID, handle: ClientHandle, view: ray_object_view) {
        self.id = id
        self.handle = handle
        self.view = view
    }

    deinit {
        var last = view
        handle.release(&last)
        handle.leave(as: ClientHandle.pin)
    }

    /// One more pin of the same object.
    func another() throws(RayStoreError) -> Pin {
        try handle.enter(as: ClientHandle.pin)
        var copy = ray_object_view()
        withUnsafePointer(to: view) { ray_client_view_copy(handle.clientInside, $0, &copy) }
        return Pin(id: id, handle: handle, view: copy)
    }

    /// Valid as long as the pin.
    var unsafeData: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: view.data, count: view.data == nil ? 0 : Int(view.data_size))
    }

    /// Valid as long as the pin.
    var unsafeMetadata: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: view.metadata, count: view.metadata == nil ? 0 : Int(view.metadata_size))
    }
}

/// A pin that several hold.
final class SharedPin: Sendable {
    let pin: Pin

    init(_ pin: consuming Pin) {
        self.pin = pin
    }

    func another() throws(RayStoreError) -> Pin { try pin.another() }
}

extension ClientHandle {
    /// Pins an object that is sealed on this node; does not wait.
    ///
    /// - Parameter reason: why the answer is nil.
    /// - Throws: what asking the node cannot help: `closed`, `forked`, or what the object failed with.
    @inline(__always)
    func pinNow(_ id: ObjectID, reason: inout RayStoreError?) throws(RayStoreError) -> Pin? {
        // A guarded reader has to ask the node, which takes a suspension.
        guard !isGuarded else { return nil }
        try enter(as: Self.pin)
        var view = ray_object_view()
        let status = id.withC { ray_object_get(storeInside, &$0, 0, &view) }
        if status == .ok {
            return Pin(id: id, handle: self, view: view)
        }
        let error = RayStoreError(status: status.rawValue, object: id)
        leave(as: Self.pin)
        switch status {
        // The last two may be mended: another copy may have come up.
        case .notFound, .notSealed, .notLocal, .timedOut, .objectLost, .fetchTimedOut: reason = error
        default: throw error
        }
        return nil
    }

    /// For who has entered.
    @inline(__always)
    func release(_ view: inout ray_object_view) {
        if isGuarded {
            ray_client_release(clientInside, &view)
        } else {
            ray_object_release(storeInside, &view)
        }
    }

    private func sharedPinNow(_ id: ObjectID, reason: inout RayStoreError?) throws(RayStoreError) -> SharedPin? {
        guard let pin = try pinNow(id, reason: &reason) else { return nil }
        return SharedPin(pin)
    }

    /// The same for many, in one call; nil for those that are not here.
    func pinManyNow(_ ids: [ObjectID], reason: inout RayStoreError?) throws(RayStoreError) -> [SharedPin?] {
        guard ids.count > 1 else {
            var pins: [SharedPin?] = []
            for id in ids {
                pins.append(try sharedPinNow(id, reason: &reason))
            }
            return pins
        }
        let list = ids.map { id in id.withC { $0 } }
        var views = Array(repeating: ray_object_view(), count: ids.count)
        var statuses = Array(repeating: ray_status.ok, count: ids.count)
        try enter(as: Self.pin * UInt64(ids.count))
        // The statuses say all; what failed is asked again below, for its own message.
        _ = ray_objects_get(storeInside, list, UInt32(list.count), 0, &views, &statuses)
        var pins: [SharedPin?] = []
        pins.reserveCapacity(ids.count)
        for (index, id) in ids.enumerated() {
            pins.append(statuses[index] == .ok ? SharedPin(Pin(id: id, handle: self, view: views[index])) : nil)
        }
        let absent = ids.indices.filter { pins[$0] == nil }
        if !absent.isEmpty {
            leave(as: Self.pin * UInt64(absent.count))
        }
        for index in absent {
            pins[index] = try sharedPinNow(ids[index], reason: &reason)
        }
        return pins
    }
}
