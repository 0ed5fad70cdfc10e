internal import HummingbirdCore
internal import Logging
internal import NIOCore

/// A connection that becomes one of `inside` when it has come through its door.
struct PatientChannel: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        /// Fails where the connection ends before.
        let entered: EventLoopFuture<HTTP1Channel.Value>
    }

    let inside: HTTP1Channel
    let connections: OpenConnections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let entered = channel.eventLoop.makePromise(of: HTTP1Channel.Value.self)
            let door = HTTPDoor(connections) { channel in
                // Else it grows to megabytes for who takes nothing, and says little of who does.
                channel.setOption(.socketOption(.so_sndbuf), value: HTTPLimits.sendBufferBytes)
                    .whenFailure { logger.warning("SO_SNDBUF: \($0)") }
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
