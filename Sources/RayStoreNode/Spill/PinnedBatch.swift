// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

/// Objects of the store that are pinned where they lie and laid down as one file's records.
///
/// `@unchecked Sendable`: nothing changes between `init` and `release`, which one task calls.
final class PinnedBatch: @unchecked Sendable {
    /// Those that could be pinned, in the order of their records.
    let ids: [ObjectID]
    let layout: SpillLayout?

    private let store: NodeStore
    private var views: [ray_object_view]
    private let owner: UnsafeMutableRawBufferPointer

    /// Reads the data, unless the storage makes the checksums: blocks as long as that takes.
    ///
    /// - Parameters:
    ///   - owner: what each record says of who owns the object.
    ///   - packing: nil: nothing is packed.
    ///   - storage: who is to write them.
    /// - Throws: why they cannot be laid down. None is pinned then.
    init(
        _ wanted: [ObjectID], owner text: String, packing: SpillPacking?, for storage: any ExternalStorage, in store: NodeStore
    ) throws(RayStoreError) {
        self.store = store
        owner = .allocate(byteCount: text.utf8.count, alignment: 1)
        owner.copyBytes(from: text.utf8)
        var ids: [ObjectID] = []
        var views: [ray_object_view] = []
        for id in wanted {
            var view = ray_object_view()
            guard id.withC({ ray_object_get(store.handle, &$0, 0, &view) }) == .ok else { continue }
            ids.append(id)
            views.append(view)
        }
        self.ids = ids
        self.views = views
        let owner = UnsafeRawBufferPointer(owner)
        let objects = zip(ids, views).map { id, view in
            SpillLayout.Object(
                id: id, owner: owner,
                metadata: UnsafeRawBufferPointer(start: view.metadata, count: Int(view.metadata_size)),
                data: UnsafeRawBufferPointer(start: view.data, count: Int(view.data_size)))
        }
        var laid: SpillLayout?
        var failure: RayStoreError?
        do throws(RayStoreError) {
            if !objects.isEmpty { laid = try SpillLayout(objects, packing: packing, for: storage) }
        } catch {
            failure = error
        }
        layout = laid
        if let failure {
            release()
            throw failure
        }
    }

    deinit {
        owner.deallocate()
    }

    /// Lets go of the objects; the layout's pieces must not be used after it.
    func release() {
        for index in views.indices { ray_object_release(store.handle, &views[index]) }
        views = []
    }
}
