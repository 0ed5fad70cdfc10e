internal import Core
internal import HTTPTypes
package import NIOCore
package import NIOHTTPTypes

/// Watches one connection's request while it comes in: says `100 Continue` to who waits for it,
/// looks less often for the bytes of one that comes in crumbs (`ReadPace`), ends the connection
/// when a body comes, or an answer is taken, too slowly to be one, and ends it behind an answer
/// that came before the body's end (413, 429…), since the rest would be listened to for nothing.
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

    private let connections: OpenConnections
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
    private let reads: PacedReads
    /// Bytes of answers that were written, and how many of them the socket had taken at the last
    /// look; nil where it had taken all.
    private var written = 0
    private var takenBefore: Int?

    package init(connections: OpenConnections) {
        self.connections = connections
        reads = PacedReads(connections)
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        number = connections.open(.begun, close: Self.closing(context))
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
        reads.end()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            reads.pace.advanced()
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
            reads.pace.took(piece.readableBytes)
        case .end:
            reads.pace.advanced()
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
        case .head(var head) where isInBody && unanswered == 1 && head.status.code >= 200:
            isClosing = true
            head.headerFields[.connection] = "close"
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .head(let head):
            // What is left is the client's: it may take its time over the answer.
            if head.status.code >= 200, wholeUnanswered <= 1 { rest(context) }
            context.write(data, promise: promise)
        case .end where isClosing:
            context.writeAndFlush(data, promise: promise)
            context.close(mode: .output, promise: nil)
            let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: TimeAmount(HTTPLimits.lingerMax)) {
                bound.value.close(promise: nil)
            }
            // What is on the way must be taken before that.
            reads.end()
            context.read()
        case .end:
            let promise = promise ?? context.eventLoop.makePromise()
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            // It rests when its client has taken the answer, however slowly.
            promise.futureResult.whenComplete { _ in
                let (this, context) = bound.value
                this.unanswered -= 1
                if this.wholeUnanswered <= 0 { this.rest(context) }
            }
            context.write(data, promise: promise)
        case .body(let piece):
            written += piece.readableBytes
            context.write(data, promise: promise)
        }
    }

    /// Requests that the node works for, or answers.
    private var wholeUnanswered: Int { unanswered - (isInBody ? 1 : 0) }

    private func rest(_ context: ChannelHandlerContext) {
        connections.rest(number, close: Self.closing(context))
    }

    package func read(context: ChannelHandlerContext) {
        if let since = pausedSince, NIODeadline.now() - since > HTTPGuard.pauseMin {
            wasPaused = true
        }
        pausedSince = nil
        isReading = true
        isClosing ? context.read() : reads.read(context)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        reads.pace.endLook()
        isReading = false
        pausedSince = .now()
        context.fireChannelReadComplete()
    }

    private func check(_ context: ChannelHandlerContext) {
        let isFair = isReading && !wasPaused
        // Where a look is put off, the last of what has come is not known yet.
        let least = HTTPLimits.bodyBytesMin * (reads.isPutOff ? 6 : 7) / 7
        if (isInBody && isFair && bytes < least) || isTakenTooSlowly(context) {
            return context.close(promise: nil)
        }
        wasPaused = !isReading
        bytes = 0
    }

    /// Whether an answer waits for its client, which took next to nothing since the last look.
    private func isTakenTooSlowly(_ context: ChannelHandlerContext) -> Bool {
        let waiting: Int
        do {
            waiting = try context.channel.syncOptions?.getOption(.bufferedWritableBytes) ?? 0
        } catch {
            return true
        }
        let before = takenBefore
        takenBefore = waiting > 0 ? written - waiting : nil
        guard let before, let taken = takenBefore else { return false }
        return taken - before < HTTPLimits.bodyBytesMin
    }
}
