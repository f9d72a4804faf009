// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreNode
import Testing

@testable import RayStoreCluster

extension OverLoopback {
    /// Node to node over loopback gRPC.
    @Suite struct GRPCTransportTests {
        private let key = ClusterKey.random()
        private let sender = NodeID.random()

        private func serve(_ peer: any PeerService, port: UInt16 = 0) async throws -> (ControlServer, NodeDescription) {
            let server = try await ControlServer.start(host: "127.0.0.1", port: port, key: key)
            server.serve(peer)
            return (server, describe(port: server.port))
        }

        @Test func aRequestArrivesWithItsSenderAndIsAnswered() async throws {
            let peer = RecordingPeer { _ in .outcomes([nil, PeerFailure(RayStoreError(.objectFreed, "gone", object: object(2)))])
            }
            let (server, node) = try await serve(peer)
            let transport = GRPCTransport(sender: sender, key: key)
            let answer = try await transport.call(.borrow([object(1), object(2)]), on: node)
            guard case .outcomes(let outcomes) = answer else { return #expect(Bool(false), "\(answer)") }
            #expect(outcomes == [nil, PeerFailure(RayStoreError(.objectFreed, "gone", object: object(2)))])
            #expect(peer.heard.count == 1)
            #expect(peer.heard.first?.sender == sender)
            guard case .borrow(let objects)? = peer.heard.first?.request else { return #expect(Bool(false)) }
            #expect(objects == [object(1), object(2)])
            await transport.close()
            await server.stop()
        }

        @Test func everyKindOfRequestKeepsItsContent() async throws {
            let peer = RecordingPeer()
            let (server, node) = try await serve(peer)
            let transport = GRPCTransport(sender: sender, key: key)
            let requests: [PeerRequest] = [
                .borrow([]), .release([object(1)]), .share(object(1), session: .max), .endShares(session: 3), .hold([object(4)]),
                .free([object(1)]), .detach(object(1)), .remove(object(1)),
                .gone([object(1)], code: .ownerDied, message: "its \"owner\" died\n"), .report("memory", arguments: "{\"a\":1}"),
            ]
            for request in requests { _ = try await transport.call(request, on: node) }
            #expect(peer.heard.map { "\($0.request)" } == requests.map { "\($0)" })
            await transport.close()
            await server.stop()
        }

        @Test func aFailureArrivesWhole() async throws {
            let failure = RayStoreError(.outOfDisk, "the disk is full: größe 💾", systemErrno: 28, object: object(3))
            let (server, node) = try await serve(RecordingPeer { _ throws(RayStoreError) in throw failure })
            let transport = GRPCTransport(sender: sender, key: key)
            let error = await expectFailure(.outOfDisk) { try await transport.call(.free([object(3)]), on: node) }
            #expect(error == failure)
            #expect(error?.systemErrno == 28)
            await transport.close()
            await server.stop()
        }

        @Test func aCodeOfALaterLibraryIsKept() async throws {
            let code = RayStoreError.Code(rawValue: 9999)
            let (server, node) = try await serve(RecordingPeer { _ throws(RayStoreError) in throw RayStoreError(code, "new") })
            let transport = GRPCTransport(sender: sender, key: key)
            await expectFailure(code) { try await transport.call(.free([]), on: node) }
            await transport.close()
            await server.stop()
        }

        @Test func manyCallsShareOneConnection() async throws {
            let peer = RecordingPeer { _ throws(RayStoreError) in
                try? await Task.sleep(for: .milliseconds(5))
                return .report("x")
            }
            let (server, node) = try await serve(peer)
            let transport = GRPCTransport(sender: sender, key: key)
            try await withThrowingTaskGroup { group in
                for index in 0..<200 {
                    group.addTask { _ = try await transport.call(.endShares(session: UInt64(index)), on: node) }
                }
                try await group.waitForAll()
            }
            #expect(peer.heard.count == 200)
            #expect(server.connections.proved == 1)
            await transport.close()
            await server.stop()
        }

        @Test func aDeadNodeIsUnreachableInBoundedTime() async throws {
            let (server, node) = try await serve(RecordingPeer())
            let transport = GRPCTransport(sender: sender, key: key)
            _ = try await transport.call(.free([]), on: node)
            await server.stop()
            let began = ContinuousClock.now
            let error = await expectFailure(.unreachable) { try await transport.call(.free([]), on: node) }
            #expect(ContinuousClock.now - began < .seconds(10))
            #expect(error?.message.contains(node.id.short) == true)
            #expect(error?.message.contains("127.0.0.1:\(node.controlPort)") == true)
            await transport.close()
        }

        @Test func aNodeThatRestartedOnItsPortIsReachedAtOnce() async throws {
            let (first, node) = try await serve(RecordingPeer())
            let transport = GRPCTransport(sender: sender, key: key)
            for _ in 0..<3 { _ = try await transport.call(.free([]), on: node) }
            await first.stop()
            let peer = RecordingPeer()
            let (second, _) = try await serve(peer, port: node.controlPort)
            _ = try await transport.call(.free([]), on: node)
            #expect(peer.heard.count == 1)
            await transport.close()
            await second.stop()
        }

        @Test func aSlowAnswerTimesOutAndTheNextCallWorks() async throws {
            let (server, node) = try await serve(
                RecordingPeer { request throws(RayStoreError) in
                    if case .report = request { try? await Task.sleep(for: .seconds(2)) }
                    return .done
                })
            let transport = GRPCTransport(sender: sender, key: key, timeout: .milliseconds(200))
            for _ in 0..<3 {
                await expectFailure(.unreachable) { try await transport.call(.report("", arguments: ""), on: node) }
            }
            let patient = GRPCTransport(sender: sender, key: key)
            _ = try await patient.call(.free([]), on: node)
            await patient.close()
            await transport.close()
            await server.stop()
        }

        @Test func aNodeThatIsStillStartingSaysSo() async throws {
            let server = try await ControlServer.start(host: "127.0.0.1", port: 0, key: key)
            let transport = GRPCTransport(sender: sender, key: key)
            let error = await expectFailure(.unreachable) { try await transport.call(.free([]), on: describe(port: server.port)) }
            #expect(error?.message.contains("starting") == true)
            await transport.close()
            await server.stop()
        }

        @Test func aMessageOverGRPCsUsualLimitArrivesAndOneOverOursIsRefused() async throws {
            let peer = RecordingPeer { request throws(RayStoreError) in
                guard case .report(let text, let times) = request else { return .done }
                return .report(String(repeating: text, count: Int(times) ?? 0))
            }
            let (server, node) = try await serve(peer)
            let transport = GRPCTransport(sender: sender, key: key, timeout: .seconds(30))
            // gRPC's own limit is 4 MiB.
            let large = String(repeating: "x", count: 6 << 20)
            guard case .report(let echoed) = try await transport.call(.report(large, arguments: "1"), on: node) else {
                return #expect(Bool(false))
            }
            #expect(echoed.utf8.count == large.utf8.count)
            let tooLarge = String(repeating: "x", count: JSONCoding.maximumBytes)
            await expectFailure(.tooLarge) { try await transport.call(.report(tooLarge, arguments: ""), on: node) }
            let answer = await expectFailure(.tooLarge) {
                try await transport.call(.report("0123456789", arguments: "1700000"), on: node)
            }
            #expect(answer?.message.contains("\(JSONCoding.maximumBytes)") == true)
            _ = try await transport.call(.free([]), on: node)
            await transport.close()
            await server.stop()
        }

        @Test func aForgottenNodesConnectionIsClosed() async throws {
            let (server, node) = try await serve(RecordingPeer())
            let transport = GRPCTransport(sender: sender, key: key)
            _ = try await transport.call(.free([]), on: node)
            #expect(transport.linkCount == 1)
            await transport.forget(node.id)
            #expect(transport.linkCount == 0)
            await transport.close()
            await expectFailure(.closed) { try await transport.call(.free([]), on: node) }
            await server.stop()
        }

        @Test func aCancelledCallSaysSo() async throws {
            let (server, node) = try await serve(
                RecordingPeer { _ throws(RayStoreError) in
                    try? await Task.sleep(for: .seconds(1))
                    return .done
                })
            let transport = GRPCTransport(sender: sender, key: key)
            let call = Task { try await transport.call(.free([]), on: node) }
            await eventually("it is connected") { server.connections.proved == 1 }
            call.cancel()
            await expectFailure(.cancelled) { try await call.value }
            await transport.close()
            await server.stop()
        }
    }
}
