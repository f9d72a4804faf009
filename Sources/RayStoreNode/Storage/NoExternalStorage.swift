// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// No spilling: a store that is full says so.
public struct NoExternalStorage: ExternalStorage {
    public init() {}

    public var typeName: String { "none" }

    public var canSpill: Bool { false }

    public func validate() async throws(RayStoreError) {}

    public func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile { throw Self.isOff }

    public func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        throw Self.isOff
    }

    public func delete(_ file: String) async throws(RayStoreError) { throw Self.isOff }

    public func files() async throws(RayStoreError) -> [String] { [] }

    public func destroy() async throws(RayStoreError) {}

    private static let isOff = RayStoreError(.unsupported, "spilling is off: give the node a storage to turn it on")
}
