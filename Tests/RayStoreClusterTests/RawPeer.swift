// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix

/// A program that speaks no gRPC: sends what it is told and keeps all that comes back until the other end closes.
final class RawPeer: Sendable {
    private let channel: any Channel
    private let everything: EventLoopFuture<[UInt8]>

    init(port: UInt16, sending bytes: [UInt8] = []) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let promise = loop.makePromise(of: [UInt8].self)
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(Collector(promise))
                    }
                }
                .connect(host: "127.0.0.1", port: Int(port)).get()
        } catch {
            promise.fail(error)
            throw error
        }
        // Who is to be cut off and is not must not keep the test for ever; the first of both outcomes holds.
        loop.scheduleTask(in: .seconds(60)) { promise.fail(StillOpen()) }
        everything = promise.futureResult
        try await send(bytes)
    }

    func send(_ bytes: [UInt8]) async throws {
        if !bytes.isEmpty { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }
    }

    /// All that came until the end of file.
    func untilClosed() async throws -> [UInt8] {
        try await everything.get()
    }

    func close() async {
        try? await channel.close()
    }

    /// The other end did not close the connection within a minute.
    private struct StillOpen: Error {}

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let promise: EventLoopPromise<[UInt8]>
        private var bytes: [UInt8] = []

        init(_ promise: EventLoopPromise<[UInt8]>) {
            self.promise = promise
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            bytes += Array(unwrapInboundIn(data).readableBytesView)
        }

        func channelInactive(context: ChannelHandlerContext) {
            promise.succeed(bytes)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}

/// A listener that answers whoever connects with fixed bytes, or with nothing at all.
struct RawListener {
    let channel: any Channel

    init(answering bytes: [UInt8]) async throws {
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Answerer(bytes))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    var port: UInt16 { UInt16(channel.localAddress!.port!) }

    func close() async {
        try? await channel.close()
    }

    private final class Answerer: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let bytes: [UInt8]

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if !bytes.isEmpty { context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil) }
        }
    }
}
