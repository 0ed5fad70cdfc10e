internal import Core
internal import HTTPTypes
package import NIOCore
package import NIOHTTPTypes

/// Asks a connection's guard to close it at once, whatever waits to be taken on it: others need
/// what its body holds.
package struct HangUp: Sendable {
    package init() {}
}

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
    /// Requests whose answer the client has not taken to its end: it may send the next before.
    private var untaken = 0
    /// Of them, those whose answer is written to its end; the next one may be on its way.
    private var ending = 0
    private var isAnswering = false
    /// Of a close that came before that.
    private var heldCloses: [EventLoopPromise<Void>?] = []
    /// Of the body, since the connection's age was renewed.
    private var bytesOfAge = 0
    private var isClosing = false
    private var timer: RepeatedTask?
    private let reads: PacedReads
    /// Bytes of answers that were written, and how many of them the socket had taken at the last
    /// look; nil where it had taken all.
    private var written = 0
    private var takenBefore: Int?
    private var looksUntaken = 0
    /// What the parser could not read, in its words. The server's own answer to that has none.
    private var fault: String?

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

    /// From whichever thread, and whatever waits to be taken.
    private static func closing(_ context: ChannelHandlerContext) -> @Sendable () -> Void {
        let eventLoop = context.eventLoop
        let bound = NIOLoopBound(context, eventLoop: eventLoop)
        return { eventLoop.execute { bound.value.close(promise: nil) } }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        end()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fault = "\(error)"
        context.fireErrorCaught(error)
    }

    private func end() {
        connections.close(number)
        timer?.cancel()
        timer = nil
        reads.end()
        for promise in heldCloses { promise?.succeed() }
        heldCloses = []
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            reads.pace.advanced()
            untaken += 1
            isInBody = true
            // The time until the next look is no whole interval.
            bytes = HTTPLimits.bodyBytesMin
            if head.headerFields[.expect]?.lowercased() == "100-continue" {
                let proceed = HTTPResponsePart.head(HTTPResponse(status: .continue))
                context.writeAndFlush(wrapOutboundOut(proceed), promise: nil)
            }
        case .body(let piece):
            bytes += piece.readableBytes
            bytesOfAge += piece.readableBytes
            reads.pace.took(piece.readableBytes)
        case .end:
            reads.pace.advanced()
            isInBody = false
            // While an answer before it is taken, the client is waited for.
            if !awaitsTaking { connections.work(number) }
            if isClosing { context.close(promise: nil) }
        }
        context.fireChannelRead(data)
    }

    package func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where isInBody && untaken - ending == 1 && head.status.code >= 200:
            isClosing = true
            head.headerFields[.connection] = "close"
            beginAnswer(context)
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .head(let head):
            if head.status.code >= 200 { beginAnswer(context) }
            if let fault, head.status == .badRequest, head.headerFields[.contentLength] == "0" {
                return explain(fault, head, context, promise)
            }
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
            isAnswering = false
            ending += 1
            let promise = promise ?? context.eventLoop.makePromise()
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            promise.futureResult.whenComplete { _ in
                let (this, context) = bound.value
                this.taken(context)
            }
            context.write(data, promise: promise)
        case .body(let piece):
            written += piece.readableBytes
            context.write(data, promise: promise)
        }
    }

    /// Answers what is no request with a problem. Whatever it was to be, nothing came of it.
    private func explain(
        _ fault: String, _ head: HTTPResponse, _ context: ChannelHandlerContext,
        _ promise: EventLoopPromise<Void>?
    ) {
        let reply = Problem.badRequest(
            "it cannot be read as HTTP/1.1 (\(fault)): send a head of at most "
                + "\(HTTPLimits.headersMax) bytes and \(HTTPLimits.headerCountMax) fields",
            outcome: .notAttempted
        ).reply
        var head = head
        head.headerFields[.contentType] = reply.contentType
        head.headerFields[.contentLength] = "\(reply.body.count)"
        written += reply.body.count
        context.write(wrapOutboundOut(.head(head)), promise: promise)
        context.write(wrapOutboundOut(.body(ByteBuffer(bytes: reply.body))), promise: nil)
    }

    /// From here on the node waits for its client, which may take its time over the answer.
    private func beginAnswer(_ context: ChannelHandlerContext) {
        isAnswering = true
        rest(context)
    }

    private var awaitsTaking: Bool { isAnswering || ending > 0 }

    /// The client has an answer to its end.
    private func taken(_ context: ChannelHandlerContext) {
        untaken -= 1
        ending -= 1
        guard !awaitsTaking else { return }
        let closes = heldCloses
        heldCloses = []
        for promise in closes { context.close(promise: promise) }
        if untaken - (isInBody ? 1 : 0) > 0 {
            connections.work(number)
        } else {
            rest(context)
        }
    }

    private func rest(_ context: ChannelHandlerContext) {
        bytesOfAge = 0
        connections.rest(number, close: Self.closing(context))
    }

    /// Who closes an idle connection counts from when an answer was written, and who shuts down
    /// does not ask whether it was taken. Of an answer that was broken off nothing more comes.
    package func close(
        context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
    ) {
        if mode == .all, ending > 0, !isAnswering, context.channel.isActive {
            heldCloses.append(promise)
        } else {
            context.close(mode: mode, promise: promise)
        }
    }

    package func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        if event is HangUp {
            context.close(promise: promise)
        } else {
            context.triggerUserOutboundEvent(event, promise: promise)
        }
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if awaitsTaking, context.channel.isWritable { rest(context) }
        context.fireChannelWritabilityChanged()
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
        // Of those that wait, who sends is younger than who does not.
        if isInBody, bytesOfAge >= HTTPLimits.ageBytes { rest(context) }
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

    /// Whether an answer waits for its client, which took next to nothing of it for two looks: the
    /// socket says only after a third of its buffer that something was taken.
    private func isTakenTooSlowly(_ context: ChannelHandlerContext) -> Bool {
        let waiting: Int
        do {
            waiting = try context.channel.syncOptions?.getOption(.bufferedWritableBytes) ?? 0
        } catch {
            return true
        }
        let before = takenBefore
        takenBefore = waiting > 0 ? written - waiting : nil
        guard let before, let taken = takenBefore, taken - before < HTTPLimits.bodyBytesMin else {
            looksUntaken = 0
            return false
        }
        looksUntaken += 1
        return looksUntaken > 1
    }
}
