// SPDX-License-Identifier: Apache-2.0
import CRayStore
import TestSupport
import Testing

@testable import RayStore
@testable import RayStoreNode

/// Requests that end before all of what they must hold.
@Suite struct CutRequestTests {
    /// What a request of each kind cannot do without: numbers of 4 and 8 bytes, ids (alone, and with their count before them) and texts.
    private enum Field {
        case word, long, id, ids, text, longs
    }

    private static let needed: [(kind: Int, fields: [Field])] = [
        (Int(RAY_REQUEST_GET), [.long, .ids]),
        (Int(RAY_REQUEST_WAIT), [.long, .word, .word, .ids]),
        (Int(RAY_REQUEST_OPEN_REF), [.id]),
        (Int(RAY_REQUEST_SHARE_REF), [.id]),
        (Int(RAY_REQUEST_CONTAIN), [.id, .ids]),
        (Int(RAY_REQUEST_FREE), [.ids]),
        (Int(RAY_REQUEST_PUT_FILE), [.word, .word, .id, .text]),
        (Int(RAY_REQUEST_DETACH), [.id]),
        (Int(RAY_REQUEST_REMOVE), [.id]),
        (Int(RAY_REQUEST_BIND_NAME), [.id, .text]),
        (Int(RAY_REQUEST_FIND_NAME), [.text]),
        (Int(RAY_REQUEST_UNBIND_NAME), [.text]),
        (Int(RAY_REQUEST_REPORT), [.text, .text]),
        (Int(RAY_REQUEST_STOP), [.word]),
        (Int(RAY_REQUEST_CREATE), [.long, .long, .word, .word, .id]),
        (Int(RAY_REQUEST_PREFETCH), [.long, .word, .word, .long, .id, .text]),
        (Int(RAY_REQUEST_SUMS), [.id, .long, .long, .longs]),
        (Int(RAY_REQUEST_READ), [.long, .long, .long, .id]),
    ]

    private static func bytes(of fields: [Field]) -> [UInt8] {
        let two: [UInt8] = [2, 0, 0, 0]
        return fields.flatMap { field in
            switch field {
            case .word: [UInt8](repeating: 0, count: 4)
            case .long: [UInt8](repeating: 0, count: 8)
            case .id: [UInt8](repeating: 9, count: 28)
            case .ids: two + [UInt8](repeating: 9, count: 56)
            case .text: two + Array("ab".utf8)
            case .longs: two + [UInt8](repeating: 0, count: 16)
            }
        }
    }

    @Test(.timeLimit(.minutes(2))) func eachIsRefusedAndHarmsNobody() async throws {
        try await withNodes(1) { _, nodes, sessions in
            let session = sessions[0]
            let kept = try session.put(bytes: pattern(1000))
            for (kind, fields) in Self.needed {
                let whole = Self.bytes(of: fields)
                let answers = try await runBlocking { () throws(RayStoreError) in
                    try session.handle.withClient { client throws(RayStoreError) in
                        (0..<whole.count).map {
                            ray_client_call(client, UInt16(kind), Array(whole.prefix($0)), $0, 60_000_000_000, nil, nil)
                        }
                    }
                }
                for (size, answer) in answers.enumerated() {
                    #expect(answer == .protocolError, "request \(kind) of \(size) bytes: \(answer.rawValue)")
                }
            }
            #expect(equal(try await session.get(kept), pattern(1000)))
            let other = try await Session.connect(socket: nodes[0].socketPath)
            await other.close()
        }
    }

    /// A count of more than there is must not be taken for a size.
    @Test func aCountThatOverrunsIsRefused() {
        for count: UInt32 in [1, 0x1fff_ffff, 0x8000_0000, .max] {
            let bytes = withUnsafeBytes(of: count.littleEndian) { [UInt8]($0) } + [1, 2, 3]
            var payload = RequestPayload(bytes)
            #expect(throws: RayStoreError.self) { _ = try payload.words() }
            payload = RequestPayload(bytes)
            #expect(throws: RayStoreError.self) { _ = try payload.ids() }
        }
        for count: UInt32 in [4, .max] {
            var payload = RequestPayload(withUnsafeBytes(of: count.littleEndian) { [UInt8]($0) } + [97, 98, 99])
            #expect(throws: RayStoreError.self) { _ = try payload.text() }
        }
    }
}
