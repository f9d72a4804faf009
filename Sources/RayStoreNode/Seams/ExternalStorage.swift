// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// Where objects go when memory is short.
///
/// The node calls in this order: `validate` once, before it opens a port or joins anything; `destroy` once, when all its objects have
/// ended. The same storage may be given to every node of a cluster; then the head alone destroys it. What spills, restores and deletes single
/// objects comes in between and is asked of a storage whose `canSpill` is true only.
public protocol ExternalStorage: Sendable {
    /// The kind of storage as a configuration names it, such as `filesystem`; shown by `raystore status`.
    var typeName: String { get }

    /// Whether anything can be spilled at all.
    var canSpill: Bool { get }

    /// Makes sure that the storage can be used as it is configured: reaches it, and makes what it needs there.
    ///
    /// - Throws: an error whose message names the parameter that is wrong and what to do. The node does not start then, and does not call
    ///   `destroy`: a storage that refuses takes back what it made.
    func validate() async throws(RayStoreError)

    /// Removes all that was spilled, and what `validate` made.
    ///
    /// - Throws: what could not be removed. The node logs it and goes on stopping.
    func destroy() async throws(RayStoreError)
}

/// No spilling: a store that is full says so.
public struct NoExternalStorage: ExternalStorage {
    public init() {}

    public var typeName: String { "none" }

    public var canSpill: Bool { false }

    public func validate() async throws(RayStoreError) {}

    public func destroy() async throws(RayStoreError) {}
}
