import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Node
import Testing

/// One connection's pace, in the time of an embedded event loop.
@Suite("The guard of a connection") struct HTTPGuardTests {
    private let connections = OpenConnections(
        ConnectionBounds(max: 8, begunMax: 8), metrics: NodeMetrics())
    private let head = HTTPRequestPart.head(
        HTTPRequest(method: .post, scheme: "http", authority: "n1", path: "/v1/events"))

    private func connect() throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(handler: HTTPGuard(connections: connections))
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/n1")).wait()
        return channel
    }

    private func body(_ bytes: Int) -> HTTPRequestPart {
        .body(ByteBuffer(repeating: 0x20, count: bytes))
    }

    @Test("a body that comes byte by byte is ended, one at a fair pace is not")
    func pace() throws {
        let slow = try connect()
        try slow.writeInbound(head)
        for _ in 0..<40 where slow.isActive {
            slow.embeddedEventLoop.advanceTime(by: .seconds(1))
            try slow.writeInbound(body(1))
            slow.read()
        }
        #expect(!slow.isActive)
        let fair = try connect()
        try fair.writeInbound(head)
        for _ in 0..<120 where fair.isActive {
            fair.embeddedEventLoop.advanceTime(by: .seconds(1))
            try fair.writeInbound(body(200))
            fair.read()
        }
        #expect(fair.isActive)
        // The node itself takes no bytes: its client is not to blame.
        try fair.writeInbound(body(1))
        fair.embeddedEventLoop.advanceTime(by: .seconds(60))
        #expect(fair.isActive)
        _ = try fair.finish(acceptAlreadyClosed: true)
    }

    /// What the guard asks of the socket.
    private final class Looks: ChannelOutboundHandler {
        typealias OutboundIn = Never
        var count = 0

        func read(context: ChannelHandlerContext) {
            count += 1
            context.read()
        }
    }

    /// Seconds of looks, each of which finds what `part` says, or bytes of a head that is not whole
    /// yet.
    private func looks(
        _ seconds: Int, finding part: HTTPRequestPart?, among others: Int
    ) throws -> Int {
        let looks = Looks()
        let connections = OpenConnections(
            ConnectionBounds(max: 1000, begunMax: 1000), metrics: NodeMetrics())
        for _ in 0..<others { _ = connections.open(.silent) {} }
        let channel = EmbeddedChannel(handlers: [
            looks, HTTPGuard(connections: connections),
        ])
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/n1")).wait()
        if part != nil { channel.pipeline.fireChannelRead(head) }
        var seen = looks.count
        for _ in 0..<(seconds * 100) {
            // The socket always has something when it is looked for.
            if looks.count > seen || looks.count == 0 {
                seen = looks.count
                if let part { channel.pipeline.fireChannelRead(part) }
                channel.pipeline.fireChannelReadComplete()
                channel.read()
            }
            channel.embeddedEventLoop.advanceTime(by: .milliseconds(10))
        }
        #expect(channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
        return looks.count
    }

    @Test("crumbs of a head or a body are looked for ever less often, a body's bytes at once")
    func crumbs() throws {
        let many = HTTPLimits.connectionsFew
        #expect((5...25).contains(try looks(10, finding: nil, among: many)))
        #expect((5...25).contains(try looks(10, finding: body(1), among: many)))
        #expect(try looks(10, finding: body(600), among: many) >= 999)
        #expect(try looks(10, finding: body(1), among: 0) >= 999, "there is nothing to save")
    }

    @Test("a request behind another is waited for, however whole the first one was")
    func pipelinedBody() throws {
        let channel = try connect()
        for part in [head, .end(nil), head, body(1)] { try channel.writeInbound(part) }
        #expect(connections.idle == 0)
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        #expect(connections.idle == 1)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test("an answer that comes before its request's end ends the connection, the one before not")
    func earlyAnswer() throws {
        let channel = try connect()
        for part in [head, .end(nil), head, body(1)] { try channel.writeInbound(part) }
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        // Not flushed: not taken.
        channel.write(HTTPResponsePart.end(nil), promise: nil)
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .contentTooLarge)))
        var heads: [HTTPResponse] = []
        while let part = try channel.readOutbound(as: HTTPResponsePart.self) {
            if case .head(let head) = part { heads.append(head) }
        }
        #expect(heads.map { $0.headerFields[.connection] } == [nil, "close"])
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test("a close waits for an answer that is being taken")
    func heldClose() throws {
        let channel = try connect()
        for part in [head, .end(nil)] { try channel.writeInbound(part) }
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        channel.write(HTTPResponsePart.end(nil), promise: nil)
        let closed = channel.eventLoop.makePromise(of: Void.self)
        channel.close(promise: closed)
        channel.embeddedEventLoop.run()
        #expect(channel.isActive)
        channel.flush()
        channel.embeddedEventLoop.run()
        #expect(!channel.isActive)
        try closed.futureResult.wait()
        // Nothing more comes of an answer that was broken off.
        let broken = try connect()
        for part in [head, .end(nil)] { try broken.writeInbound(part) }
        try broken.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        broken.write(HTTPResponsePart.body(ByteBuffer(string: "a")), promise: nil)
        broken.close(promise: nil)
        broken.embeddedEventLoop.run()
        #expect(!broken.isActive)
    }

    @Test("who must give way is closed whatever waits to be taken")
    func hungUp() throws {
        let channel = try connect()
        for part in [head, .end(nil), head, body(1)] { try channel.writeInbound(part) }
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        channel.write(HTTPResponsePart.end(nil), promise: nil)
        channel.triggerUserOutboundEvent(HangUp(), promise: nil)
        channel.embeddedEventLoop.run()
        #expect(!channel.isActive)
    }

    /// A socket that takes what it is told to.
    private final class Encoder: ChannelOutboundHandler {
        typealias OutboundIn = HTTPResponsePart
        typealias OutboundOut = ByteBuffer

        func write(
            context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
        ) {
            if case .body(let piece) = unwrapOutboundIn(data) {
                context.write(wrapOutboundOut(piece), promise: promise)
            } else {
                promise?.succeed()
            }
        }
    }

    @Test("an answer that its client does not take ends the connection, one that it takes does not")
    func untaken() throws {
        for isTaken in [false, true] {
            let channel = EmbeddedChannel(handlers: [
                Encoder(), HTTPGuard(connections: connections),
            ])
            try channel.connect(to: SocketAddress(unixDomainSocketPath: "/n1")).wait()
            for part in [head, .end(nil)] { channel.pipeline.fireChannelRead(part) }
            channel.write(HTTPResponsePart.head(HTTPResponse(status: .ok)), promise: nil)
            for _ in 0..<6 where channel.isActive {
                // What was written and not flushed waits, as in a socket that is full.
                if isTaken { channel.flush() }
                let piece = ByteBuffer(repeating: 0x20, count: 4 * HTTPLimits.bodyBytesMin)
                channel.write(HTTPResponsePart.body(piece), promise: nil)
                channel.embeddedEventLoop.advanceTime(by: TimeAmount(HTTPLimits.stallMax))
            }
            #expect(channel.isActive == isTaken)
            _ = try channel.finish(acceptAlreadyClosed: true)
        }
    }

    @Test("a connection is idle until its request is whole and again after its answer")
    func idle() throws {
        let channel = try connect()
        #expect(connections.idle == 1 && connections.count(of: .begun) == 1)
        try channel.writeInbound(head)
        #expect(connections.idle == 1, "its body is still to come")
        try channel.writeInbound(HTTPRequestPart.end(nil))
        #expect(connections.idle == 0)
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        #expect(connections.idle == 1, "the rest is up to its client")
        try channel.writeInbound(head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        #expect(connections.idle == 1, "the next request does not change that")
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        #expect(connections.idle == 0, "the next request came before the answer was taken")
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        #expect(connections.idle == 1)
        channel.embeddedEventLoop.advanceTime(by: .seconds(300))
        #expect(channel.isActive, "idle connections are another handler's business")
        _ = try channel.finish(acceptAlreadyClosed: true)
        #expect(connections.count(of: .begun) == 0 && connections.idle == 0)
    }
}
