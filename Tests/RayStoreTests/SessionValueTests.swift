// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Testing

@testable import RayStore

/// Putting and getting values through a session, on one node.
@Suite struct SessionValueTests {
    struct Point: Codable, Equatable, BitwiseCopyable {
        var x: Float
        var y: Float
    }

    struct Note: Codable, Equatable {
        var title: String
        var lines: [String]
        var weight: Double
    }

    @Test func theFirstPutOfTheFirstDriverHasRaysId() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        #expect(session.isDriver)
        #expect(session.job == JobID(rawValue: 1))
        #expect(session.nodeNumber == 1)
        #expect(session.nodeID.description == String(repeating: "ab", count: 28))
        #expect(try session.put("first").id.description == IdTests.firstPut)
        await session.close()
    }

    @Test func codableValuesComeBackEqual() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let note = Note(title: "naïve ☂", lines: ["", "two"], weight: 0.1)
        #expect(try await session.get(session.put(note)) == note)
        #expect(try await session.get(session.put("text")) == "text")
        #expect(try await session.get(session.put(7)) == 7)
        #expect(try await session.get(session.put(["a": [1, 2]])) == ["a": [1, 2]])
        #expect(try await session.get(session.put(Int?.none)) == nil)
        #expect(try await session.get(session.put(-Double.infinity)) == -Double.infinity)
        #expect(try await session.get(session.put(["none"])) == ["none"])
        await session.close()
    }

    @Test func arraysOfFixedSizeElementsComeBackEqual() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let floats: [Float] = [1, .nan, -.infinity, 4]
        let ref = try session.put(floats)
        #expect(try await session.get(ref).map(\.bitPattern) == floats.map(\.bitPattern))
        let kind = try await session.pin(ref).kind
        #expect(kind == .array)
        let points = [Point(x: 1, y: 2), Point(x: 3, y: 4)]
        #expect(try await session.get(session.put(points)) == points)
        #expect(try await session.get(session.put([Int]())) == [])
        #expect(try await session.get(session.put([true, false])) == [true, false])
        await session.close()
    }

    func roundTrip<Value: Codable & Sendable & Equatable>(_ value: Value, _ session: Session) async throws -> ObjectKind {
        let ref = try session.put(value)
        #expect(try await session.get(ref) == value)
        return try await session.pin(ref).kind
    }

    @Test func genericCodeStoresNumbersAsArraysToo() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        #expect(try await roundTrip([1.5, 2.5], session) == .array)
        #expect(try await roundTrip([UInt8](repeating: 1, count: 9), session) == .array)
        #expect(try await roundTrip(["a"], session) == .json)
        #expect(try await roundTrip([Point(x: 1, y: 2)], session) == .json)
        // What generic code put as JSON is read by code that knows the type.
        let json: ObjectRef<[Point]> = try session.putAsCodable([Point(x: 5, y: 6)])
        #expect(try await session.get(json) == [Point(x: 5, y: 6)])
        await session.close()
    }

    @Test func bytesAreReadInPlaceAndPinnedAsLongAsTheyAreHeld() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let source = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        let ref = try session.put(bytes: source)
        do {
            let bytes = try await session.get(ref)
            #expect(bytes.count == source.count)
            #expect(Array(bytes) == source)
            // Into less memory than they take, and what is left.
            let target = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 99_990)
            defer { target.deallocate() }
            let (rest, copied) = target.initialize(from: bytes)
            #expect(copied == target.count && Array(target) == Array(source[..<99_990]))
            #expect(Array(IteratorSequence(rest)) == Array(source[99_990...]))
            #expect(bytes.bytes.byteCount == source.count)
            #expect(bytes[99_999] == source[99_999])
            #expect(bytes == bytes)
            #expect(node.pinnedBytes > 0)
        }
        #expect(node.pinnedBytes == 0)
        #expect(try await session.get(session.put(bytes: [])).isEmpty)
        #expect(try await Array(session.get(session.put(bytes: source[10..<20]))) == Array(source[10..<20]))
        #expect(try await Array(session.get(session.put(bytes: Set([UInt8(3)])))) == [3])
        await session.close()
    }

    @Test func rawSpansCanBePut() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let numbers: [UInt32] = [1, 2, 3]
        let ref = try session.put(bytes: numbers.span.bytes)
        #expect(try await session.get(ref).count == 12)
        await session.close()
    }

    @Test func elementsAreReadInPlace() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let ref = try session.put((0..<24).map(Double.init), shape: [2, 3, 4])
        let pinned = try await session.pin(ref)
        let (shape, byteCount) = (try pinned.shape, pinned.byteCount)
        #expect(shape == [2, 3, 4])
        #expect(byteCount == 24 * 8)
        do {
            let elements = try pinned.elements(as: Double.self)
            let (count, last) = (elements.count, elements[23])
            #expect(count == 24)
            #expect(last == 23)
        }
        let address = pinned.withUnsafeBytes { Int(bitPattern: $0.baseAddress) }
        #expect(address % 64 == 0)
        pinned.release()
        #expect(node.pinnedBytes == 0)
        await session.close()
    }

    @Test func anObjectIsFilledInPlace() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let bytes = try session.create(byteCount: 8) { room in
            while !room.isFull { room.append(UInt8(room.byteCount), as: UInt8.self) }
        }
        #expect(try await Array(session.get(bytes)) == [0, 1, 2, 3, 4, 5, 6, 7])
        let matrix = try session.create(shape: [2, 2], of: Int32.self) { room in
            while !room.isFull { room.append(Int32(room.count)) }
        }
        #expect(try await session.get(matrix) == [0, 1, 2, 3])
        let shape = try await session.pin(matrix).shape
        #expect(shape == [2, 2])
        #expect(try await session.get(session.create(byteCount: 0) { _ in }).isEmpty)
        await session.close()
    }

    @Test func anObjectThatIsNotFilledIsNotPut() async throws {
        struct Interrupted: Error {}
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let before = node.entryCount
        #expect(throws: Interrupted.self) {
            try session.create(byteCount: 8) { _ in throw Interrupted() }
        }
        let error = #expect(throws: RayStoreError.self) {
            try session.create(byteCount: 8) { $0.append(1, as: UInt8.self) }
        }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("1 of 8") == true)
        #expect(node.entryCount == before)
        #expect(node.usedBytes == 0)
        await session.close()
    }

    @Test func theWrongTypeIsRefusedAndBothAreNamed() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let floats = try session.put([Float(1), 2])
        func refusal<Value: Sendable>(_ body: () async throws -> Value) async -> String {
            do {
                _ = try await body()
                return "no error"
            } catch {
                #expect((error as? RayStoreError)?.code == .wrongKind)
                return "\(error)"
            }
        }
        let asDoubles = ObjectRef<[Double]>(id: floats.id, handle: session.handle, isOpen: false)
        await asDoubles.open()
        let text = await refusal { try await session.get(asDoubles) }
        #expect(text.contains("array of float32") && text.contains("array of float64"))
        let asBytes: ObjectRef<Bytes> = try await session.open(floats.id)
        #expect(await refusal { try await session.get(asBytes) }.contains("not bytes"))
        let asFile: ObjectRef<RayFile> = try await session.open(floats.id)
        #expect(await refusal { try await session.get(asFile) }.contains("not a file"))
        let asNote: ObjectRef<Note> = try await session.open(floats.id)
        #expect(await refusal { try await session.get(asNote) }.contains("JSON of Note"))
        let string = try session.put("text")
        let stringAsNote: ObjectRef<Note> = try await session.open(string.id)
        #expect(await refusal { try await session.get(stringAsNote) }.contains("JSON of Swift.String"))
        let note = try session.put(Note(title: "", lines: [], weight: 0))
        let noteAsArray: ObjectRef<[Float]> = try await session.open(note.id)
        #expect(await refusal { try await session.get(noteAsArray) }.contains("JSON of"))
        let pinned = try await session.pin(floats)
        do throws(RayStoreError) {
            _ = try pinned.elements(as: Int32.self).count
            Issue.record("nothing was thrown")
        } catch {
            #expect(error.code == .wrongKind)
        }
        #expect(node.pinnedBytes > 0)
        pinned.release()
        #expect(node.pinnedBytes == 0)
        await session.close()
    }

    @Test func anErrorThatIsAnObjectIsThrownByWhoGetsIt() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let id = try ObjectID(String(repeating: "07", count: 28))
        try node.seal(id, data: [], metadata: ValueMetadata.error(RayStoreError(.taskFailed, "division by zero")).encoded)
        let ref: ObjectRef<Int> = try await session.open(id)
        for body in [
            { _ = try await session.get(ref) }, { _ = try await session.pin(ref) },
        ] as [() async throws -> Void] {
            #expect(await code(body) == "TASK_FAILED")
        }
        #expect(node.pinnedBytes == 0)
        await session.close()
    }

    @Test func aDamagedArrayIsCorruptAndNotRead() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let session = try await node.connect()
        let id = try ObjectID(String(repeating: "08", count: 28))
        try node.seal(id, data: [1, 2, 3], metadata: ArrayHeader.encode(ElementType(Float.self), shape: [1 << 40, 1 << 40]))
        let ref: ObjectRef<[Float]> = try await session.open(id)
        #expect(await code { _ = try await session.get(ref) } == "CORRUPT")
        await session.close()
    }

    @Test func aStoreThatIsTooSmallSaysSo() async throws {
        let node = try TestNode(capacity: 1 << 20)
        defer { node.stop() }
        let session = try await node.connect()
        #expect(await code { _ = try session.put(bytes: [UInt8](repeating: 0, count: 2 << 20)) } == "STORE_FULL")
        #expect(try await session.get(session.put("small")) == "small")
        await session.close()
    }

    @Test func threadsWithoutConcurrencyHaveBlockingForms() async throws {
        let node = try TestNode()
        defer { node.stop() }
        let path = node.socketPath
        let sum = try await runBlocking { () throws(RayStoreError) in
            let session = try Session.connectBlocking(socket: path)
            let refs = [try session.put(1), try session.put(2)]
            let array = try session.getBlocking(session.put([Float(3)]))
            let pinned = try session.pinBlocking(refs[0], timeout: .seconds(1))
            let split = try session.waitBlocking(refs, count: 2, timeout: .seconds(1))
            return try session.getBlocking(refs).reduce(0, +) + Int(array[0]) + split.ready.count + (pinned.byteCount > 0 ? 1 : 0)
        }
        #expect(sum == 9)
    }
}

extension Session {
    fileprivate func putAsCodable<Value: Codable & Sendable>(_ value: Value) throws -> ObjectRef<Value> { try put(value) }
}
