// SPDX-License-Identifier: Apache-2.0
import CRayStore
import FoundationEssentials
import Testing

@testable import RayStore

@Suite struct IdTests {
    static let firstPut = "00ffffffffffffffffffffffffffffffffffffff0100000001e1f505"

    @Test func theFirstPutOfTheFirstDriverPrintsAsInRay() throws {
        var task = ray_task_id_driver(1)
        let id = ObjectID(c: ray_object_id_make(&task, UInt32(RAY_FIRST_PUT_INDEX) + 1))
        #expect(id.description == Self.firstPut)
        #expect(id.job == JobID(rawValue: 1))
        #expect(id.nodeNumber == nil)
    }

    @Test func textAndBytesAndJSONReadBackAsTheSameId() throws {
        let id = try ObjectID(Self.firstPut)
        #expect(try ObjectID(id.description) == id)
        #expect(ObjectID(bytes: id.bytes) == id)
        #expect(try JSONDecoder().decode(ObjectID.self, from: JSONEncoder().encode(id)) == id)
    }

    @Test(arguments: ["", "00ff", String(firstPut.dropLast()), firstPut + "0", String(firstPut.dropLast()) + "g"])
    func textThatIsNoIdIsRefusedAndQuoted(text: String) {
        let error = #expect(throws: RayStoreError.self) { try ObjectID(text) }
        #expect(error?.code == .badRef)
        #expect(error?.message.contains("'\(text)'") == true)
    }

    @Test func aSharedRefIsTextAndNothingElse() throws {
        let shared = try SharedRef<[Int]>(Self.firstPut)
        #expect(shared.text == Self.firstPut)
        let json = try JSONEncoder().encode([shared])
        #expect(String(decoding: json, as: UTF8.self) == "[\"\(Self.firstPut)\"]")
        #expect(try JSONDecoder().decode([SharedRef<[Int]>].self, from: json) == [shared])
    }
}
