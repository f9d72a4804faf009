// SPDX-License-Identifier: Apache-2.0
internal import RayStore

/// What a method answers: its value, or its failure in full. Failures of RayStore do not travel as gRPC statuses, which would cut
/// their code to one of gRPC's and their text to what fits a header.
enum Reply<Value: Codable & Sendable>: Codable, Sendable {
    case success(Value)
    case failure(WireFailure)

    init(_ body: () async throws(RayStoreError) -> Value) async {
        do throws(RayStoreError) {
            self = .success(try await body())
        } catch {
            self = .failure(WireFailure(error))
        }
    }

    /// The reply as it is sent; an answer that cannot be sent becomes the failure that says so.
    func encoded() throws(RayStoreError) -> EncodedMessage {
        do {
            return try JSONCoding.encode(self)
        } catch {
            return try JSONCoding.encode(Reply.failure(WireFailure(error)))
        }
    }

    func get() throws(RayStoreError) -> Value {
        switch self {
        case .success(let value): return value
        case .failure(let failure): throw failure.error
        }
    }
}

/// A `RayStoreError` on its way.
struct WireFailure: Codable, Sendable {
    let code: RayStoreError.Code
    let message: String
    let systemErrno: Int32?
    let object: ObjectID?

    init(_ error: RayStoreError) {
        code = error.code
        message = error.message
        systemErrno = error.systemErrno
        object = error.object
    }

    var error: RayStoreError { RayStoreError(code, message, systemErrno: systemErrno, object: object) }
}
