internal import Core
internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes

/// Watches one connection's request while it comes in: says `100 Continue` to who waits for it,
/// ends the connection when a body makes no progress, and ends it behind an answer that came before
/// the body's end (413, 429…), since the rest would be listened to for nothing.
///
/// That end lingers: the node says that it will write no more, and takes what is still on the way
/// for a moment. A close at once would reset the connection, and the client might never see the
/// answer.
///
/// Progress is measured against the server's own reading: while the node does not read
/// (backpressure), a client is not to blame, but then nothing is read for at most a request's
/// deadline, which is far shorter than `HTTPLimits.stallMax`.
final class HTTPGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private var isInBody = false
    private var hasMoved = false
    private var isClosing = false
    private var timer: RepeatedTask?

    func handlerAdded(context: ChannelHandlerContext) {
        let interval = TimeAmount(HTTPLimits.stallMax)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
            _ in
            let (this, context) = bound.value
            this.check(context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasMoved = true
        switch unwrapInboundIn(data) {
        case .head(let head):
            isInBody = true
            if head.headerFields[.expect]?.lowercased() == "100-continue" {
                let proceed = HTTPResponsePart.head(HTTPResponse(status: .continue))
                context.writeAndFlush(wrapOutboundOut(proceed), promise: nil)
            }
        case .body:
            break
        case .end:
            isInBody = false
            if isClosing { context.close(promise: nil) }
        }
        context.fireChannelRead(data)
    }

    func write(
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
        case .head, .body, .end:
            context.write(data, promise: promise)
        }
    }

    private func check(_ context: ChannelHandlerContext) {
        if isInBody, !hasMoved { context.close(promise: nil) }
        hasMoved = false
    }
}
