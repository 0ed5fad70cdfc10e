import Client
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A node's HTTP behind a real port, for whole commands, which make their own client: it answers as
/// told and remembers what it was asked.
struct ScriptedNode {
    /// What came, as `POST /v1/drain`, and how many requests came before it; nil: the connection is
    /// closed without an answer.
    typealias Script = @Sendable (String, Int) -> HTTPReply?

    private let channel: any Channel
    private let book: Book

    init(_ script: @escaping Script) async throws {
        let book = Book(script)
        self.book = book
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(ScriptHandler(book))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    var address: NodeAddress {
        NodeAddress(host: "127.0.0.1", port: channel.localAddress?.port ?? 0)
    }

    /// What it was asked so far.
    var asked: [String] { book.asked.withLock { $0 } }

    func close() async throws {
        try await channel.close()
    }

    /// A body that is read as JSON.
    static func json(_ status: Int = 200, _ body: String) -> HTTPReply {
        HTTPReply(status: status, body: Array(body.utf8))
    }
}

private final class Book: Sendable {
    let script: ScriptedNode.Script
    let asked = Mutex<[String]>([])

    init(_ script: @escaping ScriptedNode.Script) {
        self.script = script
    }

    func answer(_ request: String) -> HTTPReply? {
        let before = asked.withLock { asked in
            asked.append(request)
            return asked.count - 1
        }
        return script(request, before)
    }
}

private final class ScriptHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let book: Book
    private var head: HTTPRequestHead?

    init(_ book: Book) {
        self.book = book
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end: answer(context)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard let head, let reply = book.answer("\(head.method.rawValue) \(head.uri)") else {
            context.close(promise: nil)
            return
        }
        var response = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: reply.status))
        response.headers.add(name: "Content-Length", value: String(reply.body.count))
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        context.write(
            wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: reply.body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}
