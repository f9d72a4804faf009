// SPDX-License-Identifier: Apache-2.0
package import CRayStore

/// The 28 bytes that name an object for ever: its creating task (which holds the job) and an index.
///
/// Its text is 56 hex digits, the same as Ray's. Coded (as JSON, say) it is that text.
public struct ObjectID: Hashable, Sendable {
    // Three words and a half are compared and hashed faster than 28 bytes one by one.
    private let word0: UInt64
    private let word1: UInt64
    private let word2: UInt64
    private let word3: UInt32

    /// The id in the first 28 of these bytes; nil when there are fewer.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count >= 28 else { return nil }
        self.init { raw in
            raw.copyBytes(from: bytes.prefix(28))
        }
    }

    private init(_ fill: (UnsafeMutableRawBufferPointer) -> Void) {
        var words: (UInt64, UInt64, UInt64, UInt32) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &words) { fill(UnsafeMutableRawBufferPointer(rebasing: $0.prefix(28))) }
        (word0, word1, word2, word3) = words
    }

    /// Reads 56 hex digits.
    ///
    /// - Throws: `badRef`, quoting the text.
    public init(_ text: String) throws(RayStoreError) {
        var id = ray_object_id()
        let status = text.withCString { ray_object_id_parse($0, text.utf8.count, &id) }
        guard status == .ok else { throw RayStoreError(status: status.rawValue) }
        self.init(c: id)
    }

    /// The 28 bytes in order.
    public var bytes: [UInt8] {
        withC { id in withUnsafeBytes(of: id.bytes) { Array($0) } }
    }

    /// The job that made it.
    public var job: JobID {
        JobID(rawValue: withC { ray_object_id_job(&$0) })
    }

    /// The number of the node whose session made it, or nil when a job's driver did.
    public var nodeNumber: UInt32? {
        withC { ray_object_id_is_driver_put(&$0) ? nil : ray_object_id_node_number(&$0) }
    }
}

extension ObjectID {
    package init(c id: ray_object_id) {
        self.init { raw in
            withUnsafeBytes(of: id.bytes) { raw.copyMemory(from: $0) }
        }
    }

    package func withC<Result>(_ body: (inout ray_object_id) -> Result) -> Result {
        var id = ray_object_id()
        withUnsafeMutableBytes(of: &id.bytes) { target in
            target.storeBytes(of: word0, as: UInt64.self)
            target.storeBytes(of: word1, toByteOffset: 8, as: UInt64.self)
            target.storeBytes(of: word2, toByteOffset: 16, as: UInt64.self)
            target.storeBytes(of: word3, toByteOffset: 24, as: UInt32.self)
        }
        return body(&id)
    }
}

extension ObjectID: CustomStringConvertible {
    public var description: String {
        withC { id in
            let length = Int(RAY_OBJECT_ID_HEX_SIZE) - 1
            return String(unsafeUninitializedCapacity: length + 1) { text in
                text.withMemoryRebound(to: CChar.self) { ray_object_id_format(&id, $0.baseAddress!) }
                return length
            }
        }
    }
}

extension ObjectID: Codable {
    public init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
