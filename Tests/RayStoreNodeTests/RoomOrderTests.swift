// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import RayStoreNode

/// Whose turn it is among those who wait for room, and who may pass.
@Suite struct RoomOrderTests {
    private let a = ClientSlot(number: 1, serial: 1)
    private let b = ClientSlot(number: 2, serial: 1)
    private let c = ClientSlot(number: 3, serial: 1)

    /// Serves the head until nobody waits.
    private func serveAll(_ order: inout RoomOrder) -> [UInt64] {
        var served: [UInt64] = []
        while let head = order.head {
            served.append(head)
            order.remove(head, isServed: true)
        }
        return served
    }

    @Test func oneClientIsServedInTheOrderInWhichItAsked() {
        var order = RoomOrder()
        for ticket in 1...5 { order.add(UInt64(ticket), of: a, bytes: 10) }
        #expect(order.bytes == 50)
        #expect(serveAll(&order) == [1, 2, 3, 4, 5])
        #expect(order.isEmpty)
        #expect(order.bytes == 0)
    }

    @Test func aClientThatAsksForMuchDoesNotKeepOthersWaiting() {
        var order = RoomOrder()
        for ticket in 1...4 { order.add(UInt64(ticket), of: a, bytes: 10) }
        order.add(5, of: b, bytes: 10)
        order.add(6, of: nil, bytes: 10)
        order.add(7, of: b, bytes: 10)
        #expect(serveAll(&order) == [1, 5, 6, 2, 7, 3, 4])
    }

    @Test func whoGivesUpTakesNobodysTurn() {
        var order = RoomOrder()
        for (ticket, client) in [(1, a), (2, b), (3, c), (4, a)] { order.add(UInt64(ticket), of: client, bytes: 10) }
        order.remove(2, isServed: false)
        order.remove(2, isServed: false)
        order.remove(1, isServed: false)
        // a's second request has the turn of its first.
        #expect(serveAll(&order) == [4, 3])
    }

    @Test func onlyWhatIsSmallerThanTheHeadPassesIt() {
        var order = RoomOrder()
        order.add(1, of: a, bytes: 100)
        order.add(2, of: a, bytes: 5)
        order.add(3, of: b, bytes: 100)
        order.add(4, of: b, bytes: 20)
        order.add(5, of: c, bytes: 30)
        #expect(order.others(smallerThan: 100, count: 10) == [5, 2, 4])
        #expect(order.others(smallerThan: 20, count: 10) == [2, 4])
        #expect(order.others(smallerThan: 100, count: 2) == [5, 2])
        #expect(order.others(smallerThan: 4, count: 10) == [])
        order.remove(5, isServed: true)
        #expect(order.head == 1)
    }

    @Test func whatMayPassIsBoundedAndTheHoldsGrow() {
        var turn = RoomTurn(1, bytes: 800 << 10, now: .zero)
        #expect(turn.passBytes == 800 << 10)
        turn.notePassed(300 << 10)
        #expect(turn.passBytes == 500 << 10)
        turn.notePassed(600 << 10)
        #expect(turn.passBytes == 0)
        let early = turn.advance(now: .milliseconds(499))
        #expect(!early)
        var now = Duration.milliseconds(500)
        var held: [Duration] = []
        for _ in 0..<6 {
            let begin = now
            let isHolding = turn.advance(now: now)
            #expect(isHolding)
            #expect(turn.passBytes == 0)
            var own = turn.ownBytes
            while turn.passBytes == 0 {
                now += .milliseconds(25)
                if turn.advance(now: now), turn.passBytes == 0 { own += turn.ownBytes }
            }
            held.append(now - begin)
            #expect(turn.passBytes == 100 << 10)
            // Who creates by himself has as much of a hold as of what follows it.
            #expect(own == 100 << 10)
            #expect(turn.ownBytes == 100 << 10)
            now += RoomTurn.passTime
        }
        #expect(held == [.seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(8), .seconds(8)])
    }
}
