// SPDX-License-Identifier: Apache-2.0

/// Which files a storage can delete: those of its own service that lie in its own folders.
///
/// A storage that is asked to delete a file of another one finds nothing there and says that it is gone; so it is not asked.
struct StoragePlace: Sendable {
    let service: String
    /// None when URLs do not show where a file lies: then every file of the service is the storage's.
    let folders: [String]

    init(_ storage: any ExternalStorage) {
        service = storage.service
        folders = storage.folders
    }

    func has(_ file: String, of service: String) -> Bool {
        service == self.service && (folders.isEmpty || folders.contains { file.hasPrefix($0) })
    }
}

/// What earlier lives of a node left in a storage that it is not configured for any more. It stays there until the node is started with that
/// storage again, or is told to forget it.
public struct LeftStorage: Codable, Hashable, Sendable {
    /// The kind of storage, and at S3 its endpoint.
    public var service: String
    /// What the URLs of its files begin with; the service's name, for a storage that does not show it.
    public var folder: String
    /// Those that are known. There may be others, which were being written when the node was killed.
    public var fileCount: Int
    public var bytes: UInt64

    public init(service: String, folder: String, fileCount: Int, bytes: UInt64) {
        self.service = service
        self.folder = folder
        self.fileCount = fileCount
        self.bytes = bytes
    }
}
