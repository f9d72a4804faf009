// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
public import RayStore

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// One file fetched from a `FileServer`, without a node or a cluster.
///
/// The file is filled beside its destination, under the name `partialPath`, and takes its place when it is complete and verified. A fetch that
/// was killed or cancelled goes on where it was when the same file is fetched to the same destination again.
public struct FileFetch: Sendable {
    public var host: String
    public var port: UInt16
    /// The file's path below the served directory.
    public var name: String
    public var destination: String
    public var key: ClusterKey
    /// Replaces a file at the destination.
    public var replaces = false
    /// Goes on with what an earlier fetch left; else begins anew.
    public var resumes = true
    /// Only these bytes of it, or as many of them as there are; nil for all. A part is not resumed.
    public var range: Range<UInt64>?
    /// The permissions of the file.
    public var mode: UInt32 = 0o600
    /// Once the server has answered: for how long it is tried again while nothing comes from it, as when the link is cut or the server is
    /// started again. What has come is kept meanwhile. Zero for a few tries within two seconds.
    public var patience = Duration.seconds(60)
    /// For all of it; nil for no limit. What has come by then is kept for another fetch.
    public var timeout: Duration?
    /// How it is transferred; nothing of it need be fixed.
    public var tuning = TransferTuning()

    public init(host: String, port: UInt16, name: String, destination: String, key: ClusterKey) {
        self.host = host
        self.port = port
        self.name = name
        self.destination = destination
        self.key = key
    }

    /// Where the file is filled; the journal lies beside it, with ".chunks" behind the name.
    public var partialPath: String {
        let slash = destination.lastIndex(of: "/")
        let folder = slash.map { destination[...$0] } ?? ""
        let last = slash.map { destination[destination.index(after: $0)...] } ?? destination[...]
        // A name has at most 255 bytes; a long one is cut and made unique again by a hash of all of it (FNV-1a).
        guard last.utf8.count > 200 else { return "\(folder).\(last).raystore-part" }
        let hash = last.utf8.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return "\(folder).\(last.prefix(40)).\(String(hash, radix: 16)).raystore-part"
    }

    /// Fetches the file.
    ///
    /// - Throws: `fileNotFound`, `notAFile`, `fileNotReadable` or `invalidArgument` (the name leads out of the directory) as the server says;
    ///   `sourceChanged`; `unreachable`; `keyRefused`; `exists` when there is a file at the destination; `inUse` when it is being fetched;
    ///   `invalidArgument` naming the field of the tuning that is not possible; `outOfDisk`; `timedOut`; `cancelled` when the task is.
    public func run(progress: @escaping @Sendable (FetchProgress) -> Void) async throws(RayStoreError) -> FetchProgress {
        try tuning.check()
        var options = ray_transfer_options()
        options.struct_size = UInt32(MemoryLayout<ray_transfer_options>.size)
        options.key = key.value
        var made: OpaquePointer?
        try RayStoreError.check { ray_transfer_create(&options, &made).rawValue }
        let transfer = EngineHandle(made!)
        let (fetch, partial) = (self, partialPath)
        let patience = max(.zero, self.patience)
        let operation =
            if let range {
                PullOperation(
                    of: part(range, at: partial + ".\(getpid())"), tuning: tuning, urgency: PullUrgency(tuning.urgency ?? .get),
                    patience: patience, timeout: timeout, progress: { progress(FetchProgress($0)) })
            } else {
                PullOperation(
                    into: partial, tuning: tuning, urgency: PullUrgency(tuning.urgency ?? .get), keepsEarlier: resumes,
                    patience: patience, timeout: timeout, place: { fetch.place(partial) },
                    progress: { progress(FetchProgress($0)) })
            }
        do throws(RayStoreError) {
            let pulled = try await operation.run(
                .name(name), from: [BulkEndpoint(host: host, port: port)], on: transfer)
            await transfer.destroyAside()
            return FetchProgress(pulled.progress, explanation: operation.explanation)
        } catch {
            await transfer.destroyAside()
            // The engine removes what is of no use once it has opened it; a refusal comes before.
            if range == nil, Self.isForGood(error.code) { _ = ray_pull_discard(partial) }
            throw error
        }
    }

    private static func isForGood(_ code: RayStoreError.Code) -> Bool {
        [.fileNotFound, .notAFile, .notFound, .sourceChanged].contains(code)
    }

    private func part(_ range: Range<UInt64>, at path: String) -> FileRange {
        let fetch = self
        // 0 bytes would be all of them to the engine; a range of none ends where the file does at the latest.
        let wanted = ByteRange(offset: range.isEmpty ? .max : range.lowerBound, size: UInt64(range.count))
        return FileRange(wanted, at: path) { fetch.place(path) }
    }

    /// Runs with the lock of the partial file held.
    private func place(_ partial: String) -> RayStoreError? {
        guard chmod(partial, mode) == 0 else { return failure("the permissions of \(partial) cannot be set") }
        if replaces {
            return rename(partial, destination) == 0 ? nil : failure("\(destination) cannot be replaced")
        }
        let status = ray_file_move(partial, destination, 0)
        guard status != .ok else { return nil }
        guard ray_last_error_errno() == EINVAL else { return RayStoreError(status: status.rawValue) }
        // This file system cannot rename without replacing: the look comes as close to the rename as it can.
        var info = stat()
        guard lstat(destination, &info) != 0 else {
            return RayStoreError(.exists, "\(destination) exists: it came into being during the fetch")
        }
        return rename(partial, destination) == 0 ? nil : failure("\(destination) cannot be made")
    }

    private func failure(_ what: String) -> RayStoreError {
        let number = errno
        let code: RayStoreError.Code = number == ENOSPC || number == EDQUOT ? .outOfDisk : number == EEXIST ? .exists : .system
        return RayStoreError(code, "\(what): \(String(cString: strerror(number)))", systemErrno: number)
    }
}
