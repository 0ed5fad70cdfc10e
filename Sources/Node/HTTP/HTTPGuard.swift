internal import Core
internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes

/// Watches one connection's request while it comes in: says `100 Continue` to who waits for it, and ends
/// the connection when a body makes no progress.
///
/// Progress is measured against the server's own reading: while the node does not read (backpressure), a
/// client is not to blame, but then nothing is read for at most a request's deadline, which is far
/// shorter than `HTTPLimits.stallMax`.
final class HTTPGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private var isInBody = false
    private var hasMoved = false
    private var timer: RepeatedTask?

    func handlerAdded(context: ChannelHandlerContext) {
        let interval = TimeAmount(HTTPLimits.stallMax)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
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
        }
        context.fireChannelRead(data)
    }

    private func check(_ context: ChannelHandlerContext) {
        if isInBody, !hasMoved { context.close(promise: nil) }
        hasMoved = false
    }
}
