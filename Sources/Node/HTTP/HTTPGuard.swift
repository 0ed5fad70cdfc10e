internal import Core
internal import HTTPTypes
package import NIOCore
package import NIOHTTPTypes

/// Watches one connection's request while it comes in: says `100 Continue` to who waits for it,
/// looks less often for the bytes of one that comes in crumbs (`ReadPace`), ends the connection
/// when a body comes too slowly to be one, and ends it behind an answer that came before the body's
/// end (413, 429…), since the rest would be listened to for nothing.
///
/// That end lingers: the node says that it will write no more, and takes what is still on the way
/// for a moment. A close at once would reset the connection, and the client might never see the
/// answer.
///
/// The pace is measured while the node reads: in an interval in which it did not for a while
/// (backpressure), a client is not to blame. A look that is put off is none of that: the socket
/// takes what comes until then.
package final class HTTPGuard: ChannelDuplexHandler, RemovableChannelHandler {
    /// Reading that begins again sooner was never paused.
    private static let pauseMin = TimeAmount.seconds(1)

    package typealias InboundIn = HTTPRequestPart
    package typealias InboundOut = HTTPRequestPart
    package typealias OutboundIn = HTTPResponsePart
    package typealias OutboundOut = HTTPResponsePart

    private let connections: IdleConnections
    private var number: UInt64 = 0
    private var isInBody = false
    /// Of the body, since the last look.
    private var bytes = 0
    /// Whether the node wants bytes, and since when it does not.
    private var isReading = false
    private var pausedSince: NIODeadline?
    private var wasPaused = false
    /// Requests that have no answer yet: clients may send the next before.
    private var unanswered = 0
    private var isClosing = false
    private var timer: RepeatedTask?
    private var pace = ReadPace()
    private var laterRead: Scheduled<Void>?

    package init(connections: IdleConnections) {
        self.connections = connections
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        number = connections.open(close: Self.closing(context))
        let interval = TimeAmount(HTTPLimits.stallMax)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
            _ in
            let (this, context) = bound.value
            this.check(context)
        }
    }

    /// From whichever thread; the channel takes it to its own.
    private static func closing(_ context: ChannelHandlerContext) -> @Sendable () -> Void {
        let channel = context.channel
        return { channel.close(promise: nil) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        end()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func end() {
        connections.close(number)
        timer?.cancel()
        timer = nil
        laterRead?.cancel()
        laterRead = nil
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            pace.advanced()
            unanswered += 1
            isInBody = true
            // The time until the next look is no whole interval.
            bytes = HTTPLimits.bodyBytesMin
            if head.headerFields[.expect]?.lowercased() == "100-continue" {
                let proceed = HTTPResponsePart.head(HTTPResponse(status: .continue))
                context.writeAndFlush(wrapOutboundOut(proceed), promise: nil)
            }
        case .body(let piece):
            bytes += piece.readableBytes
            pace.took(piece.readableBytes)
        case .end:
            pace.advanced()
            connections.work(number)
            isInBody = false
            if isClosing { context.close(promise: nil) }
        }
        context.fireChannelRead(data)
    }

    package func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where isInBody && head.status.code >= 200:
            isClosing = true
            head.headerFields[.connection] = "close"
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end where isClosing:
            context.writeAndFlush(data, promise: promise)
            context.close(mode: .output, promise: nil)
            let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: TimeAmount(HTTPLimits.lingerMax)) {
                bound.value.close(promise: nil)
            }
        case .end:
            let promise = promise ?? context.eventLoop.makePromise()
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            // It rests when its client has taken the answer, however slowly.
            promise.futureResult.whenComplete { _ in
                let (this, context) = bound.value
                this.answered(context)
            }
            context.write(data, promise: promise)
        case .head, .body:
            context.write(data, promise: promise)
        }
    }

    private func answered(_ context: ChannelHandlerContext) {
        unanswered -= 1
        if unanswered <= 0 { connections.rest(number, close: Self.closing(context)) }
    }

    package func read(context: ChannelHandlerContext) {
        if let since = pausedSince, NIODeadline.now() - since > HTTPGuard.pauseMin {
            wasPaused = true
        }
        pausedSince = nil
        isReading = true
        guard let delay = pace.delay else { return context.read() }
        guard laterRead == nil else { return }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        // Those that came together shall not all be looked at together.
        let wait = TimeAmount(delay * Double.random(in: 0.5...1))
        laterRead = context.eventLoop.scheduleTask(in: wait) {
            let (this, context) = bound.value
            this.laterRead = nil
            context.read()
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        pace.endLook()
        isReading = false
        pausedSince = .now()
        context.fireChannelReadComplete()
    }

    private func check(_ context: ChannelHandlerContext) {
        let isFair = isReading && !wasPaused
        if isInBody, isFair, bytes < HTTPLimits.bodyBytesMin { context.close(promise: nil) }
        wasPaused = !isReading
        bytes = 0
    }
}
