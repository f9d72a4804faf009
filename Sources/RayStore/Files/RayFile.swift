// SPDX-License-Identifier: Apache-2.0

/// A file as a value: put it, pass its ref, get it on any node.
///
/// To put one, name it: `RayFile(path:)`. Nothing is read before the put. What a get returns lies complete, verified and read-only on this
/// node, and stays there as long as the instance (or a copy of it) exists: it pins the object and holds a ref.
///
/// ```swift
/// let ref = try await session.put(RayFile(path: "epoch-7.jsonl"))
/// let file = try await session.get(ref)
/// read(file.path)
/// ```
public struct RayFile: Sendable {
    enum Storage: Sendable {
        case source(path: String, mode: Mode)
        case fetched(FetchedFile)
    }

    /// As RAY_FILE_* of client.h.
    enum Mode: UInt32, Sendable {
        case copy = 0
        case reference = 1
        case adopt = 2
    }

    let storage: Storage

    init(_ file: FetchedFile) {
        storage = .fetched(file)
    }

    /// A file that is to be put. A relative path is taken from the current directory now.
    ///
    /// - Parameter enableCopy: with it the store takes its own copy, which lives and dies with the job. Without it the store refers to the
    ///   file where it lies and never deletes it; a get fails with `sourceChanged` once it was changed.
    public init(path: String, enableCopy: Bool = true) {
        storage = .source(path: Self.absolute(path), mode: enableCopy ? .copy : .reference)
    }

    /// A file that the put moves into the store, without a copy where it lies on the same file system. Afterwards it is not at its path any more.
    public static func adopting(path: String) -> RayFile {
        RayFile(storage: .source(path: absolute(path), mode: .adopt))
    }

    private init(storage: Storage) {
        self.storage = storage
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : (currentDirectory().map { $0 + "/" + path } ?? path)
    }
}

extension RayFile {
    /// Where the file lies on this node, absolute.
    public var path: String {
        switch storage {
        case .source(let path, _): path
        case .fetched(let file): file.path
        }
    }

    /// The file's own name, which it keeps wherever it goes.
    public var name: String {
        switch storage {
        case .source(let path, _): String(path.split(separator: "/").last ?? "")
        case .fetched(let file): file.name
        }
    }

    private var fetched: FetchedFile? {
        if case .fetched(let file) = storage { file } else { nil }
    }

    /// Nil before the file was put and got: until then nothing is read.
    public var size: ByteCount? { fetched?.size }

    /// When the file was last changed, since 1970-01-01 00:00 UTC. Nil before the file was put and got.
    public var modified: Duration? { fetched?.modified }

    /// Whether the file at `path` is the store's own copy, which goes with the object. False for a file that the store refers to where
    /// it lies. For a file that is to be put: whether the store will own it.
    public var isCopy: Bool {
        switch storage {
        case .source(_, let mode): mode != .reference
        case .fetched(let file): file.isCopy
        }
    }
}

extension RayFile: CustomStringConvertible {
    public var description: String { path }
}
