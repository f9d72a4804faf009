// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import CRayStoreS3
public import RayStore
internal import Synchronization

/// Spilled files as objects of S3 buckets, used in turn from a random start: any service that speaks the protocol.
///
/// Keys are `<the URI's own path>/<prefix>/<owner>/<file name>`. Each call takes a thread of its own while it lasts and has several requests
/// under way at once. Deleting deletes.
///
/// `@unchecked Sendable`: the C client may be used by any thread; it is freed with the last reference.
public final class S3Storage: ExternalStorage, SummingStorage, @unchecked Sendable {
    public let typeName = "smart_open"
    public let canSpill = true
    public let packsByDefault = true
    public let takesBytesByRange = true

    public let service: String
    let client: OpaquePointer
    private let places: [S3Location]
    private let shared: S3Location?
    private let next: Atomic<UInt>

    /// - Parameters:
    ///   - locations: at least one bucket, with or without a path in it.
    ///   - prefix: the folder below it.
    ///   - owner: the name of the node's own folder, the same in each of its lives.
    ///   - partBytes: of uploads that are larger, at least 5 MiB; nil for the client's own choice, which sends up to 192 MiB in one request.
    ///   - patience: how long a request may stand still before it is made again; nil for the client's own choice, 20 seconds.
    ///   - shared: a path around the locations that is this cluster's, and goes with it; nil when there is none.
    /// - Throws: `invalidArgument` naming what is wrong with the endpoint or the credentials.
    public init(
        locations: [S3Location], prefix: String, owner: String, service: S3Service, partBytes: UInt64? = nil,
        patience: Duration? = nil, shared: S3Location? = nil
    ) throws(RayStoreError) {
        precondition(!locations.isEmpty, "a storage needs a bucket")
        var made: OpaquePointer?
        let status = service.endpoint.withCString { endpoint in
            service.region.withCString { region in
                service.credentials.accessKey.withCString { accessKey in
                    service.credentials.secretKey.withCString { secretKey in
                        Self.withOptionalCString(service.credentials.sessionToken) { token in
                            var options = ray_s3_options(
                                struct_size: UInt32(MemoryLayout<ray_s3_options>.size), endpoint: endpoint, region: region,
                                access_key: accessKey, secret_key: secretKey, session_token: token,
                                connection_count_max: 0, part_bytes: partBytes ?? 0, attempts_max: 0,
                                timeout_ns: patience.map { max(1, $0.nanosecondsClamped) } ?? 0)
                            return ray_s3_create(&options, &made)
                        }
                    }
                }
            }
        }
        guard status == .ok, let made else { throw RayStoreError(status: status.rawValue) }
        client = made
        self.shared = shared
        self.service = "\(typeName) \(service.endpoint)"
        places = locations.map { S3Location(bucket: $0.bucket, path: $0.key([prefix, owner])) }
        next = Atomic(UInt.random(in: 0..<UInt(locations.count)))
    }

    public var folders: [String] { places.map { $0.url + "/" } }

    deinit {
        ray_s3_destroy(client)
    }

    private static func withOptionalCString<R>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
        guard let text else { return body(nil) }
        return text.withCString { body($0) }
    }

    /// Blocking, on a thread of its own.
    private func call<Value: Sendable>(
        _ body: @escaping @Sendable (OpaquePointer) throws(RayStoreError) -> Value
    ) async throws(RayStoreError) -> Value {
        try await runBlocking(on: .slow) { () throws(RayStoreError) in try body(self.client) }
    }

    public func hurry() {
        ray_s3_hurry(client)
    }

    public func validate() async throws(RayStoreError) {
        for place in places {
            do throws(RayStoreError) {
                try await call { client throws(RayStoreError) in
                    try RayStoreError.check { ray_s3_check_bucket(client, place.bucket).rawValue }
                    // A key that may list but not write would be noticed when memory is short.
                    let probe = place.key(["probe"])
                    try RayStoreError.check { ray_s3_put(client, place.bucket, probe, [], 0).rawValue }
                    try RayStoreError.check { ray_s3_delete(client, place.bucket, probe).rawValue }
                }
            } catch {
                throw RayStoreError(
                    .invalidArgument, "uri: nothing can be spilled to \(place.url): \(error.message)",
                    systemErrno: error.systemErrno)
            }
        }
    }

    public func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
        let place = places[Int(next.wrappingAdd(1, ordering: .relaxed).oldValue % UInt(places.count))]
        let key = place.key([batch.name])
        try await call { client throws(RayStoreError) in
            let parts = batch.parts(ofFirst: batch.recordCount)
            try RayStoreError.check {
                ray_s3_put_laid(
                    client, place.bucket, key, parts.baseAddress!, UInt32(parts.count), batch.packed?.pointer,
                    batch.summing?.pointer
                ).rawValue
            }
            batch.finishSums()
        }
        return SpilledFile(url: S3Location(bucket: place.bucket, path: key).url, recordCount: batch.recordCount)
    }

    public func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
        try await call { _ throws(RayStoreError) in try self.restoreHere(file, from: offset, into: memory) }
    }

    public func delete(_ file: String) async throws(RayStoreError) {
        let place = try S3Location(file)
        try await call { client throws(RayStoreError) in
            try RayStoreError.check { ray_s3_delete(client, place.bucket, place.path).rawValue }
        }
    }

    public func files() async throws(RayStoreError) -> [String] {
        var all: [String] = []
        for place in places {
            all += try await call { client throws(RayStoreError) in try Self.keys(of: place, client) }
                .map { S3Location(bucket: place.bucket, path: $0).url }
        }
        return all
    }

    private static func keys(of place: S3Location, _ client: OpaquePointer) throws(RayStoreError) -> [String] {
        var keys: [String] = []
        try withUnsafeMutablePointer(to: &keys) { (list) throws(RayStoreError) in
            try RayStoreError.check {
                ray_s3_list(
                    client, place.bucket, place.path + "/",
                    { context, key, _ in
                        context!.assumingMemoryBound(to: [String].self).pointee.append(String(cString: key))
                        return true
                    }, list
                ).rawValue
            }
        }
        return keys
    }

    public func destroy() async throws(RayStoreError) {
        for place in places { try await remove(all: place) }
    }

    public func destroyShared() async throws(RayStoreError) {
        if let shared { try await remove(all: shared) }
    }

    private func remove(all place: S3Location) async throws(RayStoreError) {
        for key in try await call({ client throws(RayStoreError) in try Self.keys(of: place, client) }) {
            try await delete(S3Location(bucket: place.bucket, path: key).url)
        }
        try await abortUploads(in: place)
    }

    public func removeUnfinished() async throws(RayStoreError) {
        for place in places { try await abortUploads(in: place) }
    }

    private func abortUploads(in place: S3Location) async throws(RayStoreError) {
        try await call { client throws(RayStoreError) in
            try RayStoreError.check { ray_s3_abort_uploads(client, place.bucket, place.path + "/").rawValue }
        }
    }
}
