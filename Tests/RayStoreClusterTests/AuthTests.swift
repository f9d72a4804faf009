// SPDX-License-Identifier: Apache-2.0
import CRayStore
import Glibc
import NIOCore
import RayStore
import RayStoreNode
import Testing

@testable import RayStoreCluster

extension OverLoopback {
    /// The control port serves nobody who has not proved the cluster's key.
    @Suite struct AuthTests {
        private func hello(version: UInt32 = UInt32(RAY_PROTOCOL_VERSION), purpose: Int = RAY_PURPOSE_CONTROL) -> [UInt8] {
            var buffer = ByteBuffer(string: "RAYS")
            buffer.writeInteger(version, endianness: .little)
            buffer.writeInteger(UInt32(purpose), endianness: .little)
            buffer.writeInteger(UInt32(0))
            buffer.writeRepeatingByte(7, count: 32)
            return Array(buffer.readableBytesView)
        }

        private let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]

        @Test func aWrongKeyIsRefusedAndSaidSo() async throws {
            let head = try await Head.start()
            let stranger = head.client(key: .random())
            for _ in 0..<2 {
                let error = await expectFailure(.keyRefused) { try await stranger.join(describe()) }
                #expect(error?.message.contains(head.place.description) == true)
                #expect(error?.message.contains("key file") == true)
            }
            // The server counts after it has answered.
            await eventually("both are counted") { head.server.connections.refused == 2 }
            #expect(head.server.connections.proved == 0)
            #expect(try await head.store.nodes().isEmpty)
            await stranger.close()
            await head.stop()
        }

        @Test func aRefusedClientDoesNotKnockAgainByItself() async throws {
            let head = try await Head.start()
            let stranger = head.client(key: .random())
            await expectFailure(.keyRefused) { try await stranger.nodes() }
            // Long enough for a transport that tries again by itself.
            try await Task.sleep(for: .milliseconds(600))
            #expect(head.server.connections.refused == 1)
            #expect(head.server.connections.pending == 0)
            await stranger.close()
            await head.stop()
        }

        @Test func aStrangerSeesTheChallengeAndThenTheEnd() async throws {
            let head = try await Head.start()
            let stranger = try await RawPeer(port: head.server.port, sending: hello() + Array(repeating: 0, count: 32) + preface)
            let bytes = try await stranger.untilClosed()
            // A challenge of 48 bytes and the verdict of 40: nothing of HTTP/2.
            #expect(bytes.count == 88)
            #expect(Array(bytes.prefix(4)) == Array("RAYS".utf8))
            #expect(Array(bytes[48..<52]) == [UInt8(RAY_KEY_REFUSED), 0, 0, 0])
            #expect(bytes[52...].allSatisfy { $0 == 0 })
            await eventually("it is counted") { head.server.connections.refused == 1 }
            await head.stop()
        }

        @Test func anHTTP2ClientGetsNoByte() async throws {
            let head = try await Head.start()
            let stranger = try await RawPeer(port: head.server.port, sending: preface)
            #expect(try await stranger.untilClosed() == [])
            await head.stop()
        }

        @Test func aSilentStrangerIsCutOff() async throws {
            let store = try await EmbeddedControlStore.open(path: nil, ownNode: nil)
            let server = try await ControlServer.start(
                host: "127.0.0.1", port: 0, key: .random(), control: store, handshakeTimeout: .milliseconds(200))
            let silent = try await RawPeer(port: server.port)
            let half = try await RawPeer(port: server.port, sending: Array(hello().prefix(20)))
            #expect(try await silent.untilClosed() == [])
            #expect(try await half.untilClosed() == [])
            await eventually("both are counted") { server.connections.refused == 2 && server.connections.pending == 0 }
            await server.stop()
            await store.close()
        }

        @Test func aPeerOfAnotherVersionIsTurnedAwayWithBothNamed() async throws {
            let key = ClusterKey.random()
            var challenge = ByteBuffer(string: "RAYS")
            challenge.writeInteger(UInt32(77), endianness: .little)
            challenge.writeInteger(UInt32(RAY_VERSION_MISMATCH), endianness: .little)
            challenge.writeRepeatingByte(0, count: 36)
            let future = try await RawListener(answering: Array(challenge.readableBytesView))
            let store = RemoteControlStore(head: HostPort(host: "127.0.0.1", port: future.port), key: key)
            let error = await expectFailure(.versionMismatch) { try await store.nodes() }
            #expect(error?.message.contains("77") == true && error?.message.contains("\(RAY_PROTOCOL_VERSION)") == true)
            await store.close()
            await future.close()

            let head = try await Head.start()
            let stranger = try await RawPeer(port: head.server.port, sending: hello(version: 77))
            let bytes = try await stranger.untilClosed()
            #expect(Array(bytes.prefix(8)) == Array("RAYS".utf8) + [UInt8(RAY_PROTOCOL_VERSION), 0, 0, 0])
            await head.stop()
        }

        @Test func aProofForTheBulkPortIsRefused() async throws {
            let head = try await Head.start()
            let stranger = try await RawPeer(port: head.server.port, sending: hello(purpose: RAY_PURPOSE_BULK))
            #expect(try await stranger.untilClosed().count == 48)
            await head.stop()
        }

        @Test func somethingElseOnThePortIsNamed() async throws {
            let web = try await RawListener(answering: Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8))
            let store = RemoteControlStore(head: HostPort(host: "127.0.0.1", port: web.port), key: .random())
            let error = await expectFailure(.protocolError) { try await store.nodes() }
            #expect(error?.message.contains("127.0.0.1:\(web.port)") == true)
            await store.close()
            await web.close()
        }

        @Test func aListenerThatNeverAnswersIsUnreachableInBoundedTime() async throws {
            let dumb = try await RawListener(answering: [])
            let store = RemoteControlStore(
                head: HostPort(host: "127.0.0.1", port: dumb.port), key: .random(),
                timeouts: .init(call: .milliseconds(300), heartbeat: .milliseconds(300)))
            await expectFailure(.unreachable) { try await store.nodes() }
            await store.close()
            await dumb.close()
        }

        @Test func strangersDoNotKeepTheClusterOut() async throws {
            let head = try await Head.start()
            var strangers: [RawPeer] = []
            for _ in 0..<100 { strangers.append(try await RawPeer(port: head.server.port)) }
            let store = head.client()
            #expect(try await store.nodes().isEmpty)
            for stranger in strangers { await stranger.close() }
            await eventually("the gate is empty") { head.server.connections.pending == 0 }
            await store.close()
            await head.stop()
        }

        @Test func strangersOverTheLimitAreCutOffAtOnceAndOthersComeInLater() async throws {
            let key = ClusterKey.random()
            let server = try await ControlServer.start(host: "127.0.0.1", port: 0, key: key, strangerLimit: 2)
            server.serve(RecordingPeer())
            let waiting = [try await RawPeer(port: server.port), try await RawPeer(port: server.port)]
            await eventually("both wait") { server.connections.pending == 2 }
            let third = try await RawPeer(port: server.port)
            #expect(try await third.untilClosed() == [])
            #expect(server.connections.refused == 1)
            for stranger in waiting { await stranger.close() }
            await eventually("their places are free") { server.connections.pending == 0 }
            let transport = GRPCTransport(sender: .random(), key: key)
            _ = try await transport.call(.free([]), on: describe(port: server.port))
            await transport.close()
            await server.stop()
        }

        /// In a process of its own, because it takes the process's descriptors away.
        @Test func aServerThatRanOutOfDescriptorsServesAgain() async {
            await #expect(processExitsWith: .success) {
                // Nobody else ends it if it hangs: the wait for it has no limit.
                alarm(120)
                let head = try await Head.start()
                let store = head.client()
                _ = try await store.nodes()
                // Sockets first, descriptors' end second: it is the server's accept that finds none left.
                let strangers = (0..<40).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
                var limit = rlimit()
                getrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
                var low = rlimit(rlim_cur: rlim_t(strangers.max()! + 10), rlim_max: limit.rlim_max)
                setrlimit(__rlimit_resource_t(7), &low)
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = head.server.port.bigEndian
                address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
                for stranger in strangers {
                    let connected = withUnsafePointer(to: &address) { address in
                        address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                            connect(stranger, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                        }
                    }
                    if connected != 0 { _exit(2) }
                }
                try await Task.sleep(for: .milliseconds(300))
                for stranger in strangers { close(stranger) }
                setrlimit(__rlimit_resource_t(7), &limit)
                await store.close()
                let late = head.client()
                var nodes: [NodeDescription]?
                for _ in 0..<20 where nodes == nil {
                    nodes = try? await late.nodes()
                    if nodes == nil { try await Task.sleep(for: .milliseconds(100)) }
                }
                // Without what runs at a usual exit, beside the event loops' threads.
                _exit(nodes?.isEmpty == true ? 0 : 1)
            }
        }
    }
}
