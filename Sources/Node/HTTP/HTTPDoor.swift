internal import Core
internal import HummingbirdCore
internal import Logging
package import NIOCore

/// Connections cost what they say: one that has said nothing has this one handler, and neither a
/// parser nor a timer for its requests. With the first byte it becomes a connection of `inside`.
///
/// Ten thousand clients that connect and are silent would otherwise take most of a processor, and
/// a multiple of the memory, before any of them is known to be of use.
struct PatientChannel<Inside: ServerChildChannel>: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        /// Fails where the connection ends before its first byte.
        let entered: EventLoopFuture<Inside.Value>
    }

    let inside: Inside
    let silent: IdleConnections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let entered = channel.eventLoop.makePromise(of: Inside.Value.self)
            let door = HTTPDoor(silent) { channel in
                inside.setup(channel: channel, logger: logger).cascade(to: entered)
            } onEnd: {
                entered.fail(ChannelError.eof)
            }
            do {
                try channel.pipeline.syncOperations.addHandler(door)
            } catch {
                entered.fail(error)
                throw error
            }
            return Value(channel: channel, entered: entered.futureResult)
        }
    }

    func handle(value: Value, logger: Logger) async {
        do {
            let entered = try await withTaskCancellationHandler {
                try await value.entered.get()
            } onCancel: {
                value.channel.close(promise: nil)
            }
            await inside.handle(value: entered, logger: logger)
        } catch {
            // It left as it came. Where the parser could not be set up, nobody could answer.
            value.channel.close(promise: nil)
        }
    }
}

/// Stands alone in a connection's pipeline until the first byte comes.
package final class HTTPDoor: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer

    private let silent: IdleConnections
    /// Adds the handlers behind this one.
    private let enter: (any Channel) -> Void
    private var onEnd: (() -> Void)?
    private var number: UInt64 = 0
    private var timer: Scheduled<Void>?

    package init(
        _ silent: IdleConnections, enter: @escaping (any Channel) -> Void,
        onEnd: @escaping () -> Void
    ) {
        self.silent = silent
        self.enter = enter
        self.onEnd = onEnd
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        number = silent.open { channel.close(promise: nil) }
        // Those that came together shall not all end together, and come again.
        let wait = HTTPLimits.idleMax * Double.random(in: 1...2)
        timer = context.eventLoop.scheduleTask(in: TimeAmount(wait)) { channel.close(promise: nil) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        silent.close(number)
        timer?.cancel()
        timer = nil
        onEnd?()
        onEnd = nil
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        onEnd = nil
        enter(context.channel)
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
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
