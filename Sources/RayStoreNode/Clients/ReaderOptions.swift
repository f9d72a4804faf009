// SPDX-License-Identifier: Apache-2.0

/// Which other users may read a node's objects, as guarded readers (`SessionAccess.guardedReader`).
///
/// Such a user can read all memory of the node's objects and write none of it. What was once given cannot be taken back while the node runs.
public struct ReaderOptions: Sendable {
    /// Their user ids.
    public var users: [UInt32]
    /// The socket they connect to. Its directory is made with mode 0711 if missing; they must be able to enter it and those above it.
    public var socketPath: String
    /// How many readers there may be at a time, this user's own included.
    public var limit = 16

    public init(users: [UInt32], socketPath: String) {
        self.users = users
        self.socketPath = socketPath
    }
}
