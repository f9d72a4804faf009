// SPDX-License-Identifier: Apache-2.0

/// How a session may touch the store.
public enum SessionAccess: Sendable {
    /// Everything, in shared memory. For processes of the node's own user.
    case full
    /// The same, with the node's tables shut to this process outside of calls of the library: a stray write into them faults where it
    /// happens instead of damaging the store for everybody. A pin and its release take some 50 ns longer. `RAYSTORE_PROTECT=1` in the
    /// environment makes every session with full access so, and an embedded node.
    ///
    /// Needs a processor with memory protection keys, and one of the process's 15: connecting throws `unsupported` or `inUse` without.
    case protected
    /// Reading only. The memory is mapped so that it cannot be written, and the node's tables not at all: each get, wait and ref is an
    /// exchange with the node, some ten microseconds instead of some hundred nanoseconds. What writes throws `unsupported`.
    ///
    /// For processes of other users too, whom the node's owner has allowed, at the node's socket for readers. A guarded reader can read all
    /// memory of the node's objects, not only what it gets. Files of another user's node cannot be opened: their get throws `fileNotReadable`.
    case guardedReader
}
