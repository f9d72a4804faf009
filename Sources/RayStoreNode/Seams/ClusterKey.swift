// SPDX-License-Identifier: Apache-2.0
package import CRayStore
public import RayStore

/// The cluster's secret: who holds it may speak to every port of every node.
///
/// It lives in a file that only its owner can read. Its text never appears in a description, so that it does not end in a log.
public struct ClusterKey: Sendable {
    package let value: ray_key

    package init(_ value: ray_key) {
        self.value = value
    }

    /// Reads a key file.
    ///
    /// - Throws: `keyUnusable` when others than the owner can read the file, when it is another user's, when it holds no key,
    ///   or when there is none (errno `ENOENT`). The message says what to do.
    public static func load(_ path: String) throws(RayStoreError) -> ClusterKey {
        var key = ray_key()
        try RayStoreError.check { ray_key_load(path, &key).rawValue }
        return ClusterKey(key)
    }

    /// Makes a random key and writes it into a new file of mode 0600.
    ///
    /// - Throws: `exists` when there is such a file; `system` when it cannot be written.
    public static func create(_ path: String) throws(RayStoreError) -> ClusterKey {
        var key = ray_key()
        try RayStoreError.check { ray_key_create(path, &key).rawValue }
        return ClusterKey(key)
    }

    /// A key that is in no file, for a cluster within one process.
    public static func random() -> ClusterKey {
        var key = ray_key()
        ray_key_random(&key)
        return ClusterKey(key)
    }
}

extension ClusterKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "cluster key (not shown)" }
    public var debugDescription: String { description }
    /// Hides the bytes from `dump` as well.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
