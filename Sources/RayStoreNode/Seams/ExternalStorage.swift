// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// Where objects go when memory is short.
///
/// A storage keeps *files*: each is written whole, once, read in ranges, and deleted. What lies in a file, records of objects, is the node's
/// affair (`raystore/spill.h`). A file is named by a URL that the storage chooses and the node remembers.
///
/// The node calls in this order: `validate` once, before it opens a port or joins anything; `destroy` once, when all its objects have
/// ended. A storage is one node's: several nodes that write to one place have a folder each there, which each sweeps at its start and destroys at
/// its end. `spill`, `restore` and `delete` come in between, from several tasks at once, and are asked of a storage whose `canSpill` is true
/// only.
public protocol ExternalStorage: Sendable {
    /// The kind of storage as a configuration names it, such as `filesystem`; shown by `raystore status`.
    var typeName: String { get }

    /// What tells its files from those of other storages that have the same URLs: the type, and where that is not enough the service's address.
    /// The node keeps it beside each URL, and asks no storage to delete what another one wrote. `typeName`, for one that does not implement it.
    var service: String { get }

    /// What the URLs of this node's files begin with, each a folder with a slash at its end: a file that an earlier life wrote elsewhere is not
    /// deleted, but reported. None, for one that does not implement it: then all files of the service are this storage's.
    var folders: [String] { get }

    /// Whether anything can be spilled at all.
    var canSpill: Bool { get }

    /// Makes sure that the storage can be used as it is configured: reaches it, and makes what it needs there.
    ///
    /// - Throws: an error whose message names the parameter that is wrong and what to do. The node does not start then, and does not call
    ///   `destroy`: a storage that refuses takes back what it made.
    func validate() async throws(RayStoreError)

    /// Writes the batch's records, or the first of them, as one new file.
    ///
    /// - Returns: the file's URL, and how many of the records are in it: the rest stay in memory and are tried again.
    /// - Throws: `outOfDisk` when there is no room; anything else that kept it from being written. Nothing is left of the file then.
    func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile

    /// Fills the memory with what the file has from this byte on.
    ///
    /// - Throws: `fileNotFound` when there is no such file any more; `corrupt` when it ends before. Other failures may pass.
    func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError)

    /// The path of a file of this machine that holds just these bytes: then what lies in it is sent to other nodes straight from there. Nil,
    /// which is what a storage says that does not implement it: ask for them by `restore`.
    func localPath(of file: String) -> String?

    /// Whether objects are packed on their way here when nobody has said otherwise: true where bytes are dearer than a core's time.
    var packsByDefault: Bool { get }

    /// Whether `spill` asks for a batch's bytes by `SpillBatch.copyBytes(from:intoUnsafe:)`, and not for pieces of memory: then there is no bound to
    /// what can be packed.
    var takesBytesByRange: Bool { get }

    /// Removes a file. One that is gone is removed already.
    func delete(_ file: String) async throws(RayStoreError)

    /// The URLs of all files that this node's earlier and present life wrote and that are still there; the node sweeps at its start what it does
    /// not know.
    func files() async throws(RayStoreError) -> [String]

    /// Removes what writes that an earlier life did not end have left and `files` does not list, such as parts of an upload. Asked once, before the
    /// first `spill`. Nothing, for a storage that does not implement it: leaves none of it.
    func removeUnfinished() async throws(RayStoreError)

    /// The node is being stopped: calls under way may fail at once, for nobody needs what they bring or write, and those that come, deletions and
    /// `destroy`, should not wait long for a service that does not answer. Nothing, for a storage that does not implement it: each of its calls
    /// is waited for.
    func hurry()

    /// Removes all that was spilled, and what `validate` made.
    ///
    /// - Throws: what could not be removed. The node logs it and goes on stopping.
    func destroy() async throws(RayStoreError)

    /// Removes what all nodes of the cluster have in a storage that they have together. Asked of the head's, after `destroy`, when no other node
    /// lives, or may be cut off only: those that were killed have left files there. Nothing, for a storage that does not implement it.
    func destroyShared() async throws(RayStoreError)
}

extension ExternalStorage {
    public var service: String { typeName }

    public var folders: [String] { [] }

    public func localPath(of file: String) -> String? { nil }

    public var packsByDefault: Bool { false }

    public var takesBytesByRange: Bool { false }

    public func removeUnfinished() async throws(RayStoreError) {}

    public func hurry() {}

    public func destroyShared() async throws(RayStoreError) {}
}

/// What a storage has written.
public struct SpilledFile: Sendable, Hashable {
    public var url: String
    public var recordCount: Int

    public init(url: String, recordCount: Int) {
        self.url = url
        self.recordCount = recordCount
    }
}
