// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// Where objects go when memory is short.
public protocol ExternalStorage: Sendable {
    /// Whether anything can be spilled at all.
    var isEnabled: Bool { get }

    /// Removes all that this node has spilled.
    func destroy() async throws(RayStoreError)
}

/// No spilling: a store that is full says so.
public struct NoExternalStorage: ExternalStorage {
    public init() {}

    public var isEnabled: Bool { false }

    public func destroy() async throws(RayStoreError) {}
}
