// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import RayStore

/// A method of a service: its name and what it takes and answers. Both ends are written against the same value.
struct Method<Request: Codable & Sendable, Answer: Codable & Sendable>: Sendable {
    let descriptor: MethodDescriptor
    /// Whether a call whose answer was lost may simply be made again.
    let isRepeatable: Bool

    init(_ service: ServiceDescriptor, _ name: String, isRepeatable: Bool = true, streams: Bool = false) {
        descriptor = MethodDescriptor(service: service, method: name, type: streams ? .serverStreaming : .unary)
        self.isRepeatable = isRepeatable
    }
}

/// What a method answers that has nothing to say.
struct Nothing: Codable, Sendable {}

extension RPCRouter {
    /// Serves a method. What the body throws travels to the caller whole.
    mutating func register<Request, Answer>(
        _ method: Method<Request, Answer>,
        _ body: @escaping @Sendable (Request) async throws(RayStoreError) -> Answer
    ) {
        registerHandler(
            forMethod: method.descriptor, deserializer: JSONDeserializer<Request>(), serializer: EncodedSerializer()
        ) { stream, _ in
            let reply = await Reply { () async throws(RayStoreError) in
                try await body(try await Self.onlyMessage(of: stream))
            }
            return StreamingServerResponse(single: ServerResponse(message: try reply.encoded()))
        }
    }

    private static func onlyMessage<Request>(of stream: StreamingServerRequest<Request>) async throws(RayStoreError) -> Request {
        do {
            return try await ServerRequest(stream: stream).message
        } catch let error as RayStoreError {
            throw error
        } catch {
            throw RayStoreError(.protocolError, "a request that cannot be read arrived: \(error)")
        }
    }
}
