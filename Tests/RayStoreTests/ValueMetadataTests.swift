// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import RayStore

/// The layouts of docs/VALUES.md, byte by byte and back. No node is needed.
@Suite struct ValueMetadataTests {
    struct Point: BitwiseCopyable {
        var x: Float
        var y: Double
    }

    @Test func anArraysHeaderIsLaidOutAsDocumented() {
        let bytes = ArrayHeader.encode(ElementType(Float.self), shape: [2, 3])
        #expect(
            bytes == [
                UInt8(ascii: "A"), 1, UInt8(ascii: "f"), 2, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0,
            ] + Array("float32".utf8))
    }

    @Test func everyFormReadsBackAsItWasWritten() throws {
        let id = try ObjectID(IdTests.firstPut)
        let all: [ValueMetadata] = [
            .bytes, .file, .json(type: "[Swift.String]"), .json(type: ""), .array(element: "int64", stride: 8, shape: [0]),
            .array(element: "float32", stride: 4, shape: [2, 3, 4]),
            .error(RayStoreError(.objectLost, "both copies are gone", systemErrno: 5, object: id)),
            .error(RayStoreError(.taskFailed, "division by zero")),
        ]
        for metadata in all {
            #expect(try ValueMetadata(metadata.encoded) == metadata)
        }
    }

    @Test func metadataThatIsCutShortIsRefusedAtEveryLength() throws {
        let all: [ValueMetadata] = [
            .json(type: "Point"), .array(element: "float32", stride: 4, shape: [2, 3]), .error(RayStoreError(.system, "text")),
        ]
        for metadata in all {
            let bytes = metadata.encoded
            for length in 1..<bytes.count {
                let error = #expect(throws: RayStoreError.self) { try ValueMetadata(Array(bytes[..<length])) }
                #expect(error?.code == (length == 1 ? .unsupported : .corrupt), "\(metadata.text) of \(length) bytes")
            }
        }
    }

    @Test func noMetadataMeansBytes() throws {
        #expect(try ValueMetadata([]) == .bytes)
    }

    @Test func aLaterVersionAndAnUnknownKindAreRefusedByName() {
        #expect(throws: RayStoreError.self) { try ValueMetadata([UInt8(ascii: "J"), 2, 0, 0]) }
        #expect(throws: RayStoreError.self) { try ValueMetadata([UInt8(ascii: "Z"), 1]) }
    }

    @Test func arbitraryBytesNeverCrashTheReader() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var bytes = (0..<Int.random(in: 1...64)).map { _ in UInt8.random(in: 0...255) }
            bytes[0] = [UInt8(ascii: "A"), UInt8(ascii: "J"), UInt8(ascii: "E")].randomElement(using: &generator)!
            if bytes.count > 1 { bytes[1] = 1 }
            if bytes.count > 3 { bytes[3] &= 3 }
            if let metadata = try? ValueMetadata(bytes), case .array(_, let stride, let shape) = metadata {
                #expect(stride > 0 && shape.allSatisfy { $0 >= 0 })
            }
        }
    }

    @Test func numbersHaveTheNamesThatNumPyHas() {
        #expect(ElementType(Int.self).name == "int64")
        #expect(ElementType(UInt8.self) == ElementType(category: UInt8(ascii: "u"), name: "uint8", stride: 1))
        #expect(ElementType(Double.self) == ElementType(category: UInt8(ascii: "f"), name: "float64", stride: 8))
        #expect(ElementType(Bool.self) == ElementType(category: UInt8(ascii: "b"), name: "bool", stride: 1))
    }

    @Test func otherTypesAreNamedWithTheirModule() {
        let type = ElementType(Point.self)
        #expect(type.category == UInt8(ascii: "o"))
        #expect(type.name == "RayStoreTests.ValueMetadataTests.Point")
        #expect(type.stride == 16)
    }

    @Test func aShapeMustHoldExactlyTheElements() throws {
        let type = ElementType(Float.self)
        try type.check([2, 3], holds: 6)
        try type.check([0, 7], holds: 0)
        for shape in [[2, 2], [], [-1, -6], [Int.max, 2], Array(repeating: 1, count: 33)] {
            #expect(throws: RayStoreError.self) { try type.check(shape, holds: 6) }
        }
        #expect(throws: RayStoreError.self) { try type.byteCount(of: [Int.max]) }
    }

    @Test func payloadsReadBackAndEndWhereTheyEnd() throws {
        let id = try ObjectID(IdTests.firstPut)
        var writer = PayloadWriter()
        writer.append(UInt64.max)
        writer.append([id, id])
        writer.append(text: "naïve ☂")
        var reader = PayloadReader(writer.bytes)
        #expect(reader.integer(UInt64.self) == .max)
        #expect(reader.integer(UInt32.self) == 2)
        #expect(reader.id() == id)
        #expect(reader.id() == id)
        #expect(reader.text() == "naïve ☂")
        #expect(reader.remaining == 0)
        #expect(reader.integer(UInt8.self) == nil)
    }
}
