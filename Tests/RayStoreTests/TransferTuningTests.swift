// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import Testing

/// What a tuning takes, refuses, and is as bytes. Both sides of every limit.
@Suite struct TransferTuningTests {
    private static let possible: [TransferTuning] = [
        .init(), .init(codec: .none), .init(codec: .lz4), .init(codec: .zstd()), .init(codec: .zstd(level: -5)),
        .init(codec: .zstd(level: 9)), .init(chunkSize: .kibibytes(64)), .init(chunkSize: .mebibytes(4)), .init(connections: 1),
        .init(connections: 16), .init(window: .bytes(1)), .init(rateCap: .bytes(1)), .init(urgency: .get),
        .init(urgency: .background),
        .init(
            codec: .zstd(level: 3), chunkSize: .kibibytes(256), connections: 5, window: .gibibytes(6), rateCap: .gibibytes(9),
            urgency: .prefetch),
    ]

    @Test(arguments: possible)
    func whatIsPossibleIsTaken(tuning: TransferTuning) throws {
        try tuning.check()
    }

    @Test(arguments: [
        ("codec", TransferTuning(codec: .zstd(level: -6))), ("codec", TransferTuning(codec: .zstd(level: 10))),
        ("chunkSize", TransferTuning(chunkSize: .kibibytes(32))), ("chunkSize", TransferTuning(chunkSize: .mebibytes(8))),
        ("chunkSize", TransferTuning(chunkSize: .mebibytes(3))), ("chunkSize", TransferTuning(chunkSize: .zero)),
        ("chunkSize", TransferTuning(chunkSize: .bytes(.min))), ("connections", TransferTuning(connections: 0)),
        ("connections", TransferTuning(connections: 17)), ("window", TransferTuning(window: .zero)),
        ("window", TransferTuning(window: .bytes(-1))), ("rateCap", TransferTuning(rateCap: .zero)),
    ])
    func whatIsNotNamesItsField(field: String, tuning: TransferTuning) {
        #expect {
            try tuning.check()
        } throws: {
            let error = $0 as? RayStoreError
            return error?.code == .invalidArgument && error?.message.contains("tuning's \(field) ") == true
        }
    }

    @Test(arguments: possible)
    func aPayloadSaysTheSame(tuning: TransferTuning) throws {
        var payload = PayloadWriter()
        tuning.append(to: &payload)
        if tuning == TransferTuning() {
            #expect(payload.bytes.isEmpty)
        } else {
            #expect(payload.bytes.count == TransferTuning.encodedSize)
            #expect(try TransferTuning(encoded: payload.bytes) == tuning)
        }
    }

    @Test func aPayloadThatIsNoneIsRefused() {
        var payload = PayloadWriter()
        TransferTuning(codec: .lz4, urgency: .wait).append(to: &payload)
        let good = payload.bytes
        var wrong = [Array(good.dropLast()), good + [0], []]
        for (place, value) in [(0, UInt8(4)), (1, 1), (2, 4), (3, 1)] {
            var bytes = good
            bytes[place] = value
            wrong.append(bytes)
        }
        for bytes in wrong {
            #expect(throws: RayStoreError.self) { try TransferTuning(encoded: bytes) }
        }
    }

    @Test(arguments: possible)
    func aDocumentSaysTheSame(tuning: TransferTuning) throws {
        #expect(try JSONDecoder().decode(TransferTuning.self, from: JSONEncoder().encode(tuning)) == tuning)
    }

    @Test func theClassesAreInOrder() {
        #expect(TransferTuning.Urgency.allCases == [.get, .wait, .prefetch, .background])
        #expect(TransferTuning.Urgency.allCases.sorted() == TransferTuning.Urgency.allCases)
    }
}
