// SPDX-License-Identifier: Apache-2.0
import RayStore
import Testing

@testable import RayStoreNode

/// Whose turn it is among those who wait for room, and who may pass.
@Suite struct RoomOrderTests {
    private let a = RoomLine.creates(of: ClientSlot(number: 1, serial: 1))
    private let b = RoomLine.creates(of: ClientSlot(number: 2, serial: 1))
    private let c = RoomLine.creates(of: ClientSlot(number: 3, serial: 1))

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
        for ticket in 1...5 { order.add(UInt64(ticket), in: a, bytes: 10) }
        #expect(order.bytes == 50)
        #expect(serveAll(&order) == [1, 2, 3, 4, 5])
        #expect(order.isEmpty)
        #expect(order.bytes == 0)
    }

    @Test func aClientThatAsksForMuchDoesNotKeepOthersWaiting() {
        var order = RoomOrder()
        for ticket in 1...4 { order.add(UInt64(ticket), in: a, bytes: 10) }
        order.add(5, in: b, bytes: 10)
        order.add(6, in: .gets(of: nil), bytes: 10)
        order.add(7, in: b, bytes: 10)
        #expect(serveAll(&order) == [1, 5, 6, 2, 7, 3, 4])
    }

    /// What comes here for gets: of two clients, and of one that also puts.
    @Test func getsHaveTheTurnOfWhoAsks() {
        let (one, other) = (ClientSlot(number: 1, serial: 1), ClientSlot(number: 2, serial: 1))
        func request(_ client: ClientSlot?, _ asker: ClientSlot?) -> RoomRequest {
            RoomRequest(
                id: ObjectID(bytes: [UInt8](repeating: 0, count: 28))!, dataSize: 1, metadataSize: 0, client: client, limit: nil,
                asker: asker)
        }
        var order = RoomOrder()
        for ticket in 1...1000 { order.add(UInt64(ticket), in: request(nil, one).line, bytes: 10) }
        order.add(1001, in: request(nil, other).line, bytes: 10)
        order.add(1002, in: request(one, nil).line, bytes: 10)
        #expect(serveAll(&order).prefix(4) == [1, 1001, 1002, 2])
    }

    @Test func whoGivesUpTakesNobodysTurn() {
        var order = RoomOrder()
        for (ticket, client) in [(1, a), (2, b), (3, c), (4, a)] { order.add(UInt64(ticket), in: client, bytes: 10) }
        order.remove(2, isServed: false)
        order.remove(2, isServed: false)
        order.remove(1, isServed: false)
        // a's second request has the turn of its first.
        #expect(serveAll(&order) == [4, 3])
    }

    @Test func onlyWhatIsSmallerThanTheHeadPassesIt() {
        var order = RoomOrder()
        order.add(1, in: a, bytes: 100)
        order.add(2, in: a, bytes: 5)
        order.add(3, in: b, bytes: 100)
        order.add(4, in: b, bytes: 20)
        order.add(5, in: c, bytes: 30)
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
