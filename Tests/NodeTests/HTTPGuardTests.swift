import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Node
import Testing

/// One connection's pace, in the time of an embedded event loop.
@Suite("The guard of a connection") struct HTTPGuardTests {
    private let connections = IdleConnections(max: 8)
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

    @Test("a connection is idle until its request is whole and again after its answer")
    func idle() throws {
        let channel = try connect()
        #expect(connections.idle == 1 && connections.count == 1)
        try channel.writeInbound(head)
        #expect(connections.idle == 1, "its body is still to come")
        try channel.writeInbound(HTTPRequestPart.end(nil))
        #expect(connections.idle == 0)
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        #expect(connections.idle == 0)
        try channel.writeInbound(head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        #expect(connections.idle == 0, "the next request came before the answer")
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        #expect(connections.idle == 1)
        channel.embeddedEventLoop.advanceTime(by: .seconds(300))
        #expect(channel.isActive, "idle connections are another handler's business")
        _ = try channel.finish(acceptAlreadyClosed: true)
        #expect(connections.count == 0 && connections.idle == 0)
    }
}
