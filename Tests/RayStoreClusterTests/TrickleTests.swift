// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import RayStore
import RayStoreNode
import Testing

@testable import RayStoreCluster

extension OverLoopback {
    /// A peer that holds the key and says what it says a byte at a time, for ever.
    @Suite struct TrickleTests {
        /// However the bytes are cut.
        @Test(arguments: [1, 2, 3, 9, 10, 1000]) func aFrameIsOwedFromItsFirstByteToItsLast(piece: Int) {
            let frames: [[UInt8]] = [Self.preface, Self.settings, [0, 0, 5, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5], Self.settings]
            let bytes = frames.flatMap { $0 }
            var ends: [Int: UInt64] = [:]
            var end = 0
            for (index, frame) in frames.enumerated() {
                end += frame.count
                ends[end] = UInt64(index + 1)
            }
            var watch = FrameWatch()
            #expect(watch.isOwed)
            for begin in stride(from: 0, to: bytes.count, by: piece) {
                let end = min(begin + piece, bytes.count)
                watch.read(ByteBuffer(bytes: bytes[begin..<end]).readableBytesView)
                #expect(watch.isOwed == (ends[end] == nil))
                if let count = ends[end] { #expect(watch.wholeCount == count) }
            }
            #expect(watch.wholeCount == 4)
        }

        private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        private static let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]

        enum Stage: CaseIterable {
            case preface, frame
            var before: [UInt8] { self == .preface ? [] : TrickleTests.preface + TrickleTests.settings }
            /// Never all of it: HEADERS of a stream, of 16,000 bytes.
            var trickled: [UInt8] {
                self == .preface ? [UInt8](TrickleTests.preface.dropLast()) : [0, 0x3e, 0x80, 1, 4, 0, 0, 0, 1]
            }
        }

        @Test(.timeLimit(.minutes(10)), arguments: Stage.allCases) func whoTricklesIsCutOff(_ stage: Stage) async throws {
            let key = ClusterKey.random()
            let store = try await EmbeddedControlStore.open(path: nil, ownNode: nil)
            let server = try await ControlServer.start(
                host: "127.0.0.1", port: 0, key: key, control: store,
                frameTimeout: .milliseconds(500))
            let gate = AuthGate(key: key, role: .connecting, timeout: .seconds(5))
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(AuthHandler(gate: gate))
                    }
                }
                .connect(host: "127.0.0.1", port: Int(server.port)).get()
            if !stage.before.isEmpty { try await channel.writeAndFlush(ByteBuffer(bytes: stage.before)) }
            var sent = 0
            while channel.isActive {
                let byte = sent < stage.trickled.count ? stage.trickled[sent] : 0
                // Not the last byte of the preface, whatever the time.
                if stage == .frame || sent < stage.trickled.count {
                    try? await channel.writeAndFlush(ByteBuffer(bytes: [byte]))
                    sent += 1
                }
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(server.connections.proved == 1 && sent > 0)
            await server.stop()
            await store.close()
        }
    }
}
