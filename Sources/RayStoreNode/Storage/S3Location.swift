// SPDX-License-Identifier: Apache-2.0
public import RayStore

/// A bucket, and a path in it; as text `s3://bucket/path`.
public struct S3Location: Hashable, Sendable {
    public let bucket: String
    /// Without a slash at either end; empty for the bucket itself.
    public let path: String

    public init(bucket: String, path: String = "") {
        self.bucket = bucket
        self.path = path
    }

    /// - Throws: `invalidArgument` naming the text.
    public init(_ uri: String) throws(RayStoreError) {
        guard uri.hasPrefix("s3://") else {
            throw RayStoreError(.invalidArgument, "uri: '\(uri)' does not begin with s3://, which is what can be spilled to")
        }
        let rest = uri.dropFirst(5)
        let bucket = rest.prefix { $0 != "/" }
        guard !bucket.isEmpty, bucket.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "?") }) else {
            throw RayStoreError(.invalidArgument, "uri: '\(uri)' names no bucket; write s3://BUCKET or s3://BUCKET/PATH")
        }
        self.bucket = String(bucket)
        path = rest.dropFirst(bucket.count).split(separator: "/").joined(separator: "/")
    }

    public var url: String { path.isEmpty ? "s3://\(bucket)" : "s3://\(bucket)/\(path)" }

    /// A key below this one.
    func key(_ names: [String]) -> String {
        ([path] + names).flatMap { $0.split(separator: "/") }.joined(separator: "/")
    }
}
