import Client
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@Suite("HTTP over sockets", .timeLimit(.minutes(1)))
struct HTTPTransportTests {
    private func withTransport(
        answerBytesMax: Int = HTTPTransport.answerBytesMax,
        _ body: (HTTPTransport) async throws -> Void
    ) async throws {
        let transport = HTTPTransport(connectionsPerNode: 2, answerBytesMax: answerBytesMax)
        do {
            try await body(transport)
            await transport.shutdown()
        } catch {
            await transport.shutdown()
            throw error
        }
    }

    @Test("a request arrives whole and its answer comes back whole")
    func exchange() async throws {
        let server = try await EchoServer()
        try await withTransport { transport in
            let body = [UInt8](repeating: 7, count: 3 << 20)
            let reply = try await transport.perform(
                HTTPCall(
                    .post, "/v1/events?a=%2F", headers: [HTTPCall.Header("Quipu-Sequence", "9")],
                    body: body), at: server.address, timeout: .seconds(20))
            #expect(reply.status == 429)
            #expect(reply.retryAfter == .seconds(7))
            let text = String(decoding: reply.body, as: UTF8.self)
            #expect(text == "POST /v1/events?a=%2F 9 3145728")
        }
        try await server.close()
    }

    @Test("an answer beyond its limit is not read to its end")
    func longAnswer() async throws {
        let server = try await EchoServer()
        try await withTransport(answerBytesMax: 4) { transport in
            await #expect(throws: TransportFailure.self) {
                try await transport.perform(
                    HTTPCall(.get, "/"), at: server.address, timeout: .seconds(20))
            }
        }
        try await server.close()
    }

    @Test("a refused connection is known at once and as nothing sent")
    func refused() async throws {
        let server = try await EchoServer()
        let address = server.address
        try await server.close()
        try await withTransport { transport in
            do throws(TransportFailure) {
                _ = try await transport.perform(
                    HTTPCall(.get, "/"), at: address, timeout: .seconds(20))
                Issue.record("a closed port answered")
            } catch {
                guard case .notConnected = error else {
                    Issue.record("\(error)")
                    return
                }
            }
        }
    }

    @Test("a node that hangs is a timeout, one that closes is a broken connection")
    func silent() async throws {
        let server = try await EchoServer()
        try await withTransport { transport in
            do throws(TransportFailure) {
                _ = try await transport.perform(
                    HTTPCall(.get, "/hang"), at: server.address, timeout: .milliseconds(50))
                Issue.record("silence was an answer")
            } catch {
                #expect(error == .timedOut)
            }
            do throws(TransportFailure) {
                _ = try await transport.perform(
                    HTTPCall(.get, "/close"), at: server.address, timeout: .seconds(20))
                Issue.record("a closed connection was an answer")
            } catch {
                guard case .broken = error else {
                    Issue.record("\(error)")
                    return
                }
            }
        }
        try await server.close()
    }
}

/// A server that answers with what it was asked, or hangs, or closes.
private struct EchoServer {
    let channel: any Channel

    init() async throws {
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(EchoHandler())
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    var address: NodeAddress {
        NodeAddress(host: "127.0.0.1", port: channel.localAddress?.port ?? 0)
    }

    func close() async throws {
        try await channel.close()
    }
}

private final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private var head: HTTPRequestHead?
    private var bytes = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            bytes = 0
        case .body(let buffer):
            bytes += buffer.readableBytes
        case .end:
            answer(context)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard let head, head.uri != "/hang" else { return }
        guard head.uri != "/close" else {
            context.close(promise: nil)
            return
        }
        let sequence = head.headers.first(name: "Quipu-Sequence") ?? "-"
        let text = "\(head.method.rawValue) \(head.uri) \(sequence) \(bytes)"
        var response = HTTPResponseHead(version: .http1_1, status: .tooManyRequests)
        response.headers.add(name: "Content-Length", value: String(text.utf8.count))
        response.headers.add(name: "Retry-After", value: "7")
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        context.write(
            wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}
