// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
public import RayStore

/// A storage that is written in C: a table of functions, `ray_storage` of `raystore/spill.h`.
///
/// `@unchecked Sendable`: the table's functions may be called from any thread, as its header demands of them.
public final class UnsafeTableStorage: ExternalStorage, @unchecked Sendable {
    public let typeName: String
    public let canSpill = true

    private let table: ray_storage

    /// - Parameter unsafeTable: a `ray_storage`, which is copied; its context must stay valid until `release` is called.
    /// - Throws: `invalidArgument` when it is of another version.
    public init(unsafeTable: UnsafeRawPointer) throws(RayStoreError) {
        let size = unsafeTable.load(as: UInt32.self)
        guard size == UInt32(MemoryLayout<ray_storage>.size) else {
            throw RayStoreError(.invalidArgument, "ray_storage.struct_size is \(size), not \(MemoryLayout<ray_storage>.size)")
        }
        table = unsafeTable.load(as: ray_storage.self)
        typeName = String(cString: table.type_name)
    }

    deinit {
        table.release?(table.context)
    }

    /// Blocking, on a thread of its own; a failure has the message that the function left.
    private func call<Value: Sendable>(
        _ body: @escaping @Sendable (_ message: UnsafeMutablePointer<CChar>, _ capacity: Int) -> (ray_status, Value)
    ) async throws(RayStoreError) -> Value {
        let typeName = typeName
        return try await runBlocking(on: .slow) { () throws(RayStoreError) in
            let capacity = 1024
            let (status, value, text) = withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { message in
                message.initialize(repeating: 0)
                let (status, value) = body(message.baseAddress!, capacity)
                message[capacity - 1] = 0
                return (status, value, String(cString: message.baseAddress!))
            }
            guard status == .ok else {
                throw RayStoreError(RayStoreError.Code(rawValue: status.rawValue), "\(typeName): \(text)")
            }
            return value
        }
    }

    public func validate() async throws(RayStoreError) {
        try await call { (self.table.validate(self.table.context, $0, $1), ()) }
    }

    public func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
        try await call { message, messageCapacity in
            let capacity = 4096
            return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { url in
                url.initialize(repeating: 0)
                var written: UInt32 = 0
                let status = self.table.spill(
                    self.table.context, batch.name, batch.parts(ofFirst: batch.recordCount).baseAddress!,
                    UInt32(batch.recordCount), url.baseAddress!, capacity, &written, message, messageCapacity)
                url[capacity - 1] = 0
                return (
                    status, SpilledFile(url: String(cString: url.baseAddress!), recordCount: min(Int(written), batch.recordCount))
                )
            }
        }
    }

    public func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        try await call {
            (self.table.restore(self.table.context, file, offset, memory.parts, UInt32(memory.parts.count), $0, $1), ())
        }
    }

    public func delete(_ file: String) async throws(RayStoreError) {
        try await call { (self.table.remove(self.table.context, file, $0, $1), ()) }
    }

    public func files() async throws(RayStoreError) -> [String] {
        try await call { message, capacity in
            var files: [String] = []
            let status = withUnsafeMutablePointer(to: &files) { list in
                self.table.list(
                    self.table.context, { $0.assumingMemoryBound(to: [String].self).pointee.append(String(cString: $1)) }, list,
                    message, capacity)
            }
            return (status, files)
        }
    }

    public func destroy() async throws(RayStoreError) {
        try await call { (self.table.destroy(self.table.context, $0, $1), ()) }
    }
}
