internal import Core
package import NIOCore

/// Stands alone in a connection's pipeline until the head of a request has come: connections cost
/// what they say. Ten thousand clients that connect and are silent, or send a byte now and then,
/// would otherwise take most of a processor for parsers, tasks and timers before any of them is
/// known to be of use.
///
/// It holds what has come, `HTTPLimits.doorBytesMax` at most: with a blank line, with more, or with
/// a first byte that no request begins with, the connection enters, and the parser says what is
/// wrong with it.
package final class HTTPDoor: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private let connections: OpenConnections
    /// Adds the handlers behind this one.
    private let enter: (any Channel) -> Void
    private var onEnd: (() -> Void)?
    private var number: UInt64 = 0
    private var timer: Scheduled<Void>?
    private var held: ByteBuffer?
    /// How much of it is known to end no head.
    private var searched = 0
    private let reads: PacedReads

    package init(
        _ connections: OpenConnections, enter: @escaping (any Channel) -> Void,
        onEnd: @escaping () -> Void
    ) {
        self.connections = connections
        self.enter = enter
        self.onEnd = onEnd
        reads = PacedReads(connections)
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        number = connections.open(.silent) { channel.close(promise: nil) }
        // Those that came together shall not all end together, and come again.
        let wait = HTTPLimits.idleMax * Double.random(in: 1...2)
        timer = context.eventLoop.scheduleTask(in: TimeAmount(wait)) { channel.close(promise: nil) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        connections.close(number)
        timer?.cancel()
        timer = nil
        reads.end()
        onEnd?()
        onEnd = nil
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        reads.pace.took(bytes.readableBytes)
        held.setOrWriteBuffer(&bytes)
        guard let held, isEnough(held) else { return }
        onEnd = nil
        self.held = nil
        // It counts as one that has begun from here on, and must not be in its own way.
        connections.close(number)
        enter(context.channel)
        context.fireChannelRead(wrapInboundOut(held))
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    /// Whether the parser must see it.
    private func isEnough(_ held: ByteBuffer) -> Bool {
        guard held.readableBytes <= HTTPLimits.doorBytesMax else { return true }
        let view = held.readableBytesView
        // Methods are in capitals. A client that speaks TLS must not wait for an answer.
        guard let first = view.first, UInt8(ascii: "A")...UInt8(ascii: "Z") ~= first else {
            return true
        }
        let rest = view.dropFirst(searched)
        // A blank line ends the head: two line feeds, with or without a carriage return between.
        for place in rest.indices where rest[place] == UInt8(ascii: "\n") {
            let next = view[(place + 1)...].prefix(2)
            if next.first == UInt8(ascii: "\n") || next.elementsEqual("\r\n".utf8) { return true }
        }
        searched = max(0, held.readableBytes - 2)
        return false
    }

    package func read(context: ChannelHandlerContext) {
        reads.read(context)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        reads.pace.endLook()
        context.fireChannelReadComplete()
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent, ChannelEvent.inputClosed as ChannelEvent:
            context.close(promise: nil)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }
}
