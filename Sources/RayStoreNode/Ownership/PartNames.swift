// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore
internal import Synchronization

/// Ids of objects that hold a part of another one for whoever has read it. They are of no job, so no session and no other node makes the same.
final class PartNames: Sendable {
    private let task: [UInt8]
    private let next = Atomic<UInt32>(1)

    init(node number: UInt32) {
        let task = ray_task_id_session(JobID.none.rawValue, number, 0)
        self.task = withUnsafeBytes(of: task) { Array($0) }
    }

    func make() -> ObjectID {
        var task = ray_task_id()
        withUnsafeMutableBytes(of: &task) { $0.copyBytes(from: self.task) }
        // After four thousand million of them the first has long been read.
        return ObjectID(c: ray_object_id_make(&task, next.wrappingAdd(1, ordering: .relaxed).oldValue))
    }
}
