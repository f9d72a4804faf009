// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import RayStore

#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// Who has the memory that somebody waits for in vain, in words.
struct RoomFigures {
    private static let namedMost = 3
    private let text: String

    /// Looks at the whole table, twice.
    init(_ store: NodeStore) throws(RayStoreError) {
        let stats = try store.stats()
        let clients = try store.clients()
        var text =
            "\(stats.free_bytes) of \(stats.capacity_bytes) bytes are free, \(stats.largest_free_bytes) in one piece, "
            + "\(stats.pinned_bytes) are pinned"
        let pinning = clients.filter { $0.pinned_bytes > 0 }.sorted { $0.pinned_bytes > $1.pinned_bytes }
        if !pinning.isEmpty {
            text +=
                " (" + pinning.prefix(Self.namedMost).map { "\($0.pinned_bytes) by \(Self.name(of: $0))" }.joined(separator: ", ")
            text += pinning.count > Self.namedMost ? ", and others)" : ")"
        }
        let unsealed = clients.reduce(UInt64(0)) { $0 + $1.unsealed_bytes }
        if unsealed > 0 { text += ", \(unsealed) are being written" }
        self.text = text
    }

    private static func name(of client: ray_store_client) -> String {
        if client.slot == UInt32(RAY_NODE_SLOT) { return "the node itself" }
        return "process \(client.pid)" + (programName(of: client.pid).map { " (\($0))" } ?? "")
    }

    /// As the kernel has it; nil when the process is gone, or in another container.
    private static func programName(of pid: Int64) -> String? {
        let file = open("/proc/\(pid)/comm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(file, &bytes, bytes.count)
        guard count > 1 else { return nil }
        return String(decoding: bytes.prefix(count - 1), as: UTF8.self)
    }

    func hopeless(_ request: RoomRequest) -> RayStoreError {
        RayStoreError(
            .storeFull,
            "object \(request.id) needs \(request.bytes) bytes and nothing more can be freed: \(text). Release what is pinned, free "
                + "objects, or start the node with more memory", object: request.id)
    }

    func late(_ request: RoomRequest) -> RayStoreError {
        RayStoreError(
            .timedOut,
            "object \(request.id) needs \(request.bytes) bytes and found no room in \(request.limit ?? .zero): \(text). Release what is pinned, free objects, "
                + "wait longer, or start the node with more memory",
            object: request.id)
    }
}
