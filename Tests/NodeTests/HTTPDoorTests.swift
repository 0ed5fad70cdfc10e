import NIOCore
import NIOEmbedded
import Node
import Testing

@Suite("The door of a connection") struct HTTPDoorTests {
    private let connections = OpenConnections(
        ConnectionBounds(max: 3, begunMax: 3), metrics: NodeMetrics())

    private final class Visit {
        var entered = 0
        var ended = 0
    }

    /// What stands behind the door: takes all that comes, in order.
    private final class Inside: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer
        var taken = ""
        var ends = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            taken += String(buffer: unwrapInboundIn(data))
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed = event { ends += 1 }
        }
    }

    private func connect(_ visit: Visit, _ inside: Inside = Inside()) throws -> EmbeddedChannel {
        let door = HTTPDoor(connections) { channel in
            visit.entered += 1
            do {
                try channel.pipeline.syncOperations.addHandler(inside)
            } catch {
                Issue.record("\(error)")
            }
        } onEnd: {
            visit.ended += 1
        }
        let channel = EmbeddedChannel(handler: door)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/n1")).wait()
        return channel
    }

    private var silent: Int { connections.count(of: .silent) }

    @Test("a blank line opens it, whatever pieces it comes in, and everything goes through")
    func enter() throws {
        for head in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\n\n"] {
            for size in 1...head.utf8.count {
                let visit = Visit()
                let inside = Inside()
                let channel = try connect(visit, inside)
                var rest = ByteBuffer(string: head)
                while let piece = rest.readSlice(length: min(size, rest.readableBytes)),
                    piece.readableBytes > 0
                {
                    #expect(visit.entered == 0 && silent == 1 && inside.taken == "")
                    channel.pipeline.fireChannelRead(piece)
                    channel.pipeline.fireChannelReadComplete()
                }
                #expect(visit.entered == 1 && silent == 0)
                channel.pipeline.fireChannelRead(ByteBuffer(string: "body"))
                #expect(inside.taken == head + "body")
                channel.embeddedEventLoop.advanceTime(by: .seconds(1000))
                #expect(channel.isActive, "what is inside has timers of its own")
                _ = try channel.finish()
                #expect(visit.ended == 0)
            }
        }
    }

    @Test("what no request begins with goes in at once, and so does too much of a head")
    func notHeld() throws {
        let most = HTTPLimits.doorBytesMax
        for (bytes, enters) in [
            ("\u{16}\u{3}\u{1}", true), ("get /", true), ("\r\n", true), ("GET /", false),
            (String(repeating: "A", count: most), false),
            (String(repeating: "A", count: most + 1), true),
        ] {
            let visit = Visit()
            let inside = Inside()
            let channel = try connect(visit, inside)
            channel.pipeline.fireChannelRead(ByteBuffer(string: bytes))
            #expect(visit.entered == (enters ? 1 : 0), "\(bytes.prefix(8))")
            #expect(inside.taken == (enters ? bytes : ""))
            _ = try channel.finish()
        }
    }

    @Test("a request and its end in one read are both seen inside")
    func endBehindRequest() throws {
        let visit = Visit()
        let inside = Inside()
        let channel = try connect(visit, inside)
        channel.pipeline.fireChannelRead(ByteBuffer(string: "GET / HTTP/1.0\r\n\r\n"))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        channel.embeddedEventLoop.run()
        #expect(channel.isActive && inside.ends == 1 && visit.ended == 0)
        _ = try channel.finish()
    }

    @Test("who says nothing is closed in the end, and who leaves is forgotten")
    func leave() throws {
        let idleMax = TimeAmount(HTTPLimits.idleMax)
        let visit = Visit()
        let channel = try connect(visit)
        channel.embeddedEventLoop.advanceTime(by: idleMax - .seconds(1))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: idleMax + .seconds(1))
        #expect(!channel.isActive && visit.ended == 1 && visit.entered == 0)
        #expect(silent == 0)
        let events: [any Sendable] = [ChannelEvent.inputClosed, ChannelShouldQuiesceEvent()]
        for event in events {
            let visit = Visit()
            let channel = try connect(visit)
            channel.pipeline.fireUserInboundEventTriggered(event)
            channel.embeddedEventLoop.run()
            #expect(!channel.isActive && visit.ended == 1, "\(event)")
        }
        #expect(silent == 0)
    }

    @Test("of too many the oldest goes")
    func bound() throws {
        let channels = try (0..<4).map { _ in try connect(Visit()) }
        for channel in channels { channel.embeddedEventLoop.run() }
        #expect(channels.map(\.isActive) == [false, true, true, true])
        #expect(silent == 3)
        for channel in channels { _ = try channel.finish(acceptAlreadyClosed: true) }
    }
}
