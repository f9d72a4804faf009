// SPDX-License-Identifier: Apache-2.0
internal import FoundationEssentials
internal import GRPCCore
internal import RayStore

/// How control messages travel: as JSON, because they are small and rare and a person may have to read them.
enum JSONCoding {
    /// No message is larger, in either direction. Checked before it is sent and before memory is taken for what arrives.
    static let maximumBytes = 16 << 20

    static func encode(_ message: some Encodable) throws(RayStoreError) -> EncodedMessage {
        let data: Data
        do {
            data = try JSONEncoder().encode(message)
        } catch {
            throw RayStoreError(.invalidArgument, "a control message cannot be written as JSON: \(error)")
        }
        guard data.count <= maximumBytes else {
            throw RayStoreError(
                .tooLarge, "a control message of \(data.count) bytes is over the limit of \(maximumBytes); send it in parts")
        }
        return EncodedMessage(data: data)
    }
}

/// A message as it is sent. It is encoded before the call begins: what fails inside a call comes out as gRPC's failure.
struct EncodedMessage: Sendable {
    fileprivate let data: Data
}

struct EncodedSerializer: MessageSerializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: EncodedMessage) -> Bytes {
        var bytes = Bytes(repeating: 0, count: message.data.count)
        bytes.withUnsafeMutableBytes { $0.copyBytes(from: message.data) }
        return bytes
    }
}

struct JSONDeserializer<Message: Decodable & Sendable>: MessageDeserializer {
    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> Message {
        guard bytes.count <= JSONCoding.maximumBytes else {
            throw RayStoreError(
                .tooLarge, "a control message of \(bytes.count) bytes arrived, over the limit of \(JSONCoding.maximumBytes)")
        }
        do {
            return try bytes.withUnsafeBytes { try JSONDecoder().decode(Message.self, from: Data($0)) }
        } catch {
            throw RayStoreError(.protocolError, "a control message that cannot be read arrived: \(error)")
        }
    }
}
