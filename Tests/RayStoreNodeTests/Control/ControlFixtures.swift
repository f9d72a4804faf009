// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Foundation
import RayStore
import RayStoreNode
import Testing

func describe(_ id: NodeID = .random(), host: String = "127.0.0.1") -> NodeDescription {
    NodeDescription(id: id, host: host, controlPort: 1, bulkPort: 2, libraryVersion: String(cString: ray_version()))
}

func object(_ index: UInt32, job: UInt32 = 1) -> ObjectID {
    var task = ray_task_id_driver(job)
    return ObjectID(c: ray_object_id_make(&task, RAY_FIRST_PUT_INDEX + index))
}

/// A directory of the test's own, removed afterwards.
func withTemporaryDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("raystore-\(UUID())").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    return try await body(directory)
}

/// Expects the code, and gives the error for a look at its message.
@discardableResult
func expectFailure<Value>(
    _ code: RayStoreError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async -> RayStoreError? {
    do {
        let value = try await body()
        Issue.record("expected \(code.name), got \(value)", sourceLocation: sourceLocation)
    } catch let error as RayStoreError {
        #expect(error.code == code, "\(error.code.name): \(error.message)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("expected \(code.name), got \(error)", sourceLocation: sourceLocation)
    }
    return nil
}
