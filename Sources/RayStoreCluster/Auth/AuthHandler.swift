// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import NIOCore
internal import RayStore
internal import RayStoreNode

/// The first handler of a control connection. Until both ends have proved the cluster's key it lets nothing through in either
/// direction: what arrives goes to the exchange of auth.h, what is written waits. Afterwards it passes everything on.
final class AuthHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case idle
        case proving(OpaquePointer)
        case proved
        case failed
    }

    private let gate: AuthGate
    private var state = State.idle
    private var heldWrites: [(data: NIOAny, promise: EventLoopPromise<Void>?)] = []
    private var holdsFlush = false
    private var deadline: Scheduled<Void>?
    private var frames = FrameWatch()
    /// Ends a connection whose peer does not end its frame.
    private var frameDeadline: Scheduled<Void>?

    init(gate: AuthGate) {
        self.gate = gate
    }

    deinit {
        if case .proving(let auth) = state { ray_auth_destroy(auth) }
    }

    // MARK: Life of the connection

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .proving = state {
            fail(
                RayStoreError(.peerClosed, "the peer closed the connection before the cluster's key was proved"),
                context, close: false)
        }
        frameDeadline?.cancel()
        failHeldWrites()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
        frameDeadline?.cancel()
        failHeldWrites()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A server that shuts down waits for its connections; one that has proved nothing is not waited for.
        if event is ChannelShouldQuiesceEvent, case .proving = state {
            fail(RayStoreError(.closed, "this end is shutting down"), context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: What arrives and what is written

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch state {
        case .proved:
            follow(unwrapInboundIn(data), context)
            context.fireChannelRead(data)
        case .proving(let auth):
            var bytes = unwrapInboundIn(data)
            step(auth, &bytes, context)
            if case .proved = state {
                follow(bytes, context)
                if bytes.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(bytes)) }
            }
        case .idle, .failed:
            // Bytes of somebody who was turned away are nobody's.
            break
        }
    }

    /// Each frame has its time from its first byte on.
    private func follow(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        guard let limit = gate.frameTimeout else { return }
        let before = frames.wholeCount
        frames.read(bytes.readableBytesView)
        if frames.isOwed, frameDeadline != nil, frames.wholeCount == before { return }
        frameDeadline?.cancel()
        frameDeadline = nil
        guard frames.isOwed else { return }
        frameDeadline = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { context.close(promise: nil) }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch state {
        case .proved: context.write(data, promise: promise)
        case .idle, .proving: heldWrites.append((data, promise))
        case .failed: promise?.fail(ChannelError.ioOnClosedChannel)
        }
    }

    func flush(context: ChannelHandlerContext) {
        if case .proved = state { context.flush() } else { holdsFlush = true }
    }

    // MARK: The exchange

    private func begin(_ context: ChannelHandlerContext) {
        guard case .idle = state else { return }
        guard gate.admit() else {
            state = .failed
            context.close(promise: nil)
            return
        }
        var auth: OpaquePointer?
        var key = gate.key.value
        let role = gate.role == .connecting ? RAY_ROLE_CONNECTING : RAY_ROLE_ACCEPTING
        let status = ray_auth_create(&key, UInt32(role), UInt32(RAY_PURPOSE_CONTROL), &auth)
        guard status == .ok, let auth else {
            fail(RayStoreError(status: status.rawValue), context)
            return
        }
        state = .proving(auth)
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: gate.timeout) { [weak self] in
            self?.fail(
                RayStoreError(.unreachable, "the peer did not prove the cluster's key in time; is another program there?"),
                context)
        }
        var nothing = ByteBuffer()
        step(auth, &nothing, context)
    }

    /// Feeds the exchange and sends what it answers, until it wants more bytes or has ended.
    private func step(_ auth: OpaquePointer, _ bytes: inout ByteBuffer, _ context: ChannelHandlerContext) {
        while case .proving = state {
            var consumed = 0
            var out = ByteBuffer()
            out.reserveCapacity(Int(RAY_AUTH_MESSAGE_MAX))
            var status = ray_status.ok
            out.writeWithUnsafeMutableBytes(minimumWritableBytes: Int(RAY_AUTH_MESSAGE_MAX)) { target in
                var size = 0
                status = bytes.withUnsafeReadableBytes { source in
                    ray_auth_step(
                        auth, source.baseAddress?.assumingMemoryBound(to: UInt8.self), source.count, &consumed,
                        target.baseAddress!.assumingMemoryBound(to: UInt8.self), &size)
                }
                return size
            }
            let failure = status == .ok || status == .again ? nil : RayStoreError(status: status.rawValue)
            bytes.moveReaderIndex(forwardBy: consumed)
            if out.readableBytes > 0 { context.writeAndFlush(wrapOutboundOut(out), promise: nil) }
            if let failure {
                fail(failure, context)
            } else if status == .ok {
                succeed(auth, context)
            } else if consumed == 0 || bytes.readableBytes == 0 {
                return
            }
        }
    }

    private func succeed(_ auth: OpaquePointer, _ context: ChannelHandlerContext) {
        ray_auth_destroy(auth)
        state = .proved
        deadline?.cancel()
        gate.record(nil)
        let held = heldWrites
        heldWrites = []
        for write in held { context.write(write.data, promise: write.promise) }
        if holdsFlush { context.flush() }
    }

    private func fail(_ failure: RayStoreError, _ context: ChannelHandlerContext, close: Bool = true) {
        switch state {
        case .proving(let auth): ray_auth_destroy(auth)
        case .idle: break
        case .proved, .failed: return
        }
        state = .failed
        deadline?.cancel()
        // Recorded before the connection closes: whoever waits for the connection looks here for the reason.
        gate.record(failure)
        failHeldWrites()
        if close { context.close(promise: nil) }
    }

    private func failHeldWrites() {
        let held = heldWrites
        heldWrites = []
        for write in held { write.promise?.fail(ChannelError.ioOnClosedChannel) }
    }
}
