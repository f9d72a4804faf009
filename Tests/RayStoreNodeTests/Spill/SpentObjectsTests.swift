// SPDX-License-Identifier: Apache-2.0
import CRayStore
import RayStore
import Testing

@testable import RayStoreNode

/// What whoever reads objects one after the other has behind it, and what shows that it has been read.
@Suite struct SpentObjectsTests {
    private let asker = ClientSlot(number: 1, serial: 1)
    private let later = Duration.milliseconds(50)

    private func id(_ number: UInt8) -> ObjectID { ObjectID(bytes: [UInt8](repeating: 7, count: 27) + [number])! }

    private func entry(_ id: ObjectID, tick: UInt64, pins: UInt32 = 0) -> StoreEntry {
        var info = ray_object_info()
        id.withC { info.id = $0 }
        info.state = UInt32(RAY_STATE_SEALED)
        info.access_tick = tick
        info.pin_slot_count = pins
        return StoreEntry(info)
    }

    private func had(_ numbers: ClosedRange<UInt8>, by asker: ClientSlot? = nil) -> SpentObjects {
        var spent = SpentObjects(capacity: 100)
        for number in numbers { spent.noteHad(id(number), tick: 5, by: asker, at: .zero) }
        return spent
    }

    @Test func whatWasUsedSinceItCameGoesTheFirstFirst() {
        var spent = had(1...2)
        let first = spent.takeNext(at: .zero) { entry($0, tick: 6) }
        #expect(first == id(1))
        let second = spent.takeNext(at: .zero) { entry($0, tick: 6) }
        #expect(second == id(2))
        let third = spent.takeNext(at: .zero) { entry($0, tick: 6) }
        #expect(third == nil)
    }

    @Test func whatWasNotUsedYetOrIsBeingReadStays() {
        var spent = had(1...3)
        let first = spent.takeNext(at: later) { entry($0, tick: 5) }
        #expect(first == nil)
        let second = spent.takeNext(at: later) { entry($0, tick: 6, pins: 1) }
        #expect(second == nil)
        // One that is read keeps no other from going.
        let third = spent.takeNext(at: later) { entry($0, tick: 6, pins: $0 == id(1) ? 1 : 0) }
        #expect(third == id(2))
    }

    @Test func whatWasUsedWithoutATraceGoesWhenItsReaderAsksForMore() {
        var spent = had(1...1, by: asker)
        spent.noteAsk(id(2), by: ClientSlot(number: 2, serial: 1), at: .milliseconds(1))
        let first = spent.takeNext(at: later) { entry($0, tick: 5) }
        #expect(first == nil)
        spent.noteAsk(id(2), by: asker, at: .milliseconds(1))
        let second = spent.takeNext(at: .milliseconds(2)) { entry($0, tick: 5) }
        #expect(second == nil)
        let third = spent.takeNext(at: later) { entry($0, tick: 5) }
        #expect(third == id(1))
    }

    @Test func whatIsNotThereAnyMoreIsInNobodysWay() {
        var spent = had(1...100)
        let first = spent.takeNext(at: later) { $0 == id(100) ? entry($0, tick: 6) : nil }
        #expect(first == id(100))
        let second = spent.takeNext(at: later) { entry($0, tick: 6) }
        #expect(second == nil)
    }

    /// Its tick is another then, though nobody has used it since.
    @Test func whatCameBackSinceIsNotTakenForUsed() {
        var spent = had(1...2)
        spent.forget(id(1))
        spent.noteHad(id(2), tick: 9, by: nil, at: .zero)
        let first = spent.takeNext(at: later) { entry($0, tick: 9) }
        #expect(first == nil)
        let second = spent.takeNext(at: later) { entry($0, tick: 10) }
        #expect(second == id(2))
        let third = spent.takeNext(at: later) { entry($0, tick: 10) }
        #expect(third == nil)
    }

    @Test func whatStaysForLongGoesInTheOrderOfUses() {
        var spent = had(1...1)
        let first = spent.takeNext(at: .seconds(3)) { entry($0, tick: 6) }
        #expect(first == nil)
    }

    @Test func whoWantsItAgainSoonEndsItForAWhile() {
        var spent = SpentObjects(capacity: 100)
        for number in 1...4 as ClosedRange<UInt8> { spent.noteGone(id(number), 40) }
        // Objects 2 to 4 would be here, had they gone in the order of uses; object 1 would not.
        spent.noteHad(id(9), tick: nil, by: nil, at: .zero)
        spent.noteAsk(id(1), by: nil, at: .zero)
        let first = spent.takeNext(at: .zero) { entry($0, tick: 6) }
        #expect(first == id(9))
        spent.noteHad(id(8), tick: nil, by: nil, at: .zero)
        spent.noteAsk(id(3), by: nil, at: .zero)
        let second = spent.takeNext(at: .zero) { entry($0, tick: 6) }
        #expect(second == nil)
        spent.noteHad(id(7), tick: nil, by: nil, at: .seconds(9))
        let third = spent.takeNext(at: .seconds(9)) { entry($0, tick: 6) }
        #expect(third == nil)
        spent.noteHad(id(7), tick: nil, by: nil, at: .seconds(11))
        let fourth = spent.takeNext(at: .seconds(11)) { entry($0, tick: 6) }
        #expect(fourth == id(7))
    }
}
