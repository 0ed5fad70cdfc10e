internal import Core
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
package import Logging
package import NIOCore
internal import ServiceLifecycle

/// The API behind a socket: Hummingbird's server, with bounds on all that a client can take its
/// time for.
package struct HTTPServer {
    private let api: HTTPAPI
    private let endpoint: Endpoint
    private let group: any EventLoopGroup
    private let bounds: ConnectionBounds
    private let logger: Logger
    /// Told the port that is listened on.
    private let onListening: @Sendable (Int) -> Void

    package init(
        api: HTTPAPI, endpoint: Endpoint, group: any EventLoopGroup,
        bounds: ConnectionBounds, logger: Logger,
        onListening: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.api = api
        self.endpoint = endpoint
        self.group = group
        self.bounds = bounds
        self.logger = logger
        self.onListening = onListening
    }

    /// Serves until the task's service group shuts down.
    package func run() async throws {
        var quiet = logger
        // Its own lines repeat what the node says; its warnings do not.
        quiet.logLevel = max(logger.logLevel, .warning)
        let connections = OpenConnections(bounds, metrics: api.metrics)
        let configuration = HTTP1Channel.Configuration(
            additionalChannelHandlers: [HTTPGuard(connections: connections)],
            idleTimeout: TimeAmount(HTTPLimits.idleMax),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: HTTPLimits.headersMax,
                maxHeaderListSize: HTTPLimits.headersMax,
                maxHeaderFieldCount: HTTPLimits.headerCountMax))
        let application = Application(
            responder: HTTPResponderAdapter(api: api),
            server: HTTPServerBuilder { responder in
                PatientChannel(
                    inside: HTTP1Channel(responder: responder, configuration: configuration),
                    connections: connections)
            },
            configuration: ApplicationConfiguration(
                address: .hostname(endpoint.host, port: endpoint.port), serverName: "quipu",
                backlog: HTTPLimits.backlog,
                availableConnectionsDelegate: MaximumAvailableConnections(
                    bounds.acceptedMax, logger: quiet)),
            onServerRunning: { [onListening, endpoint] channel in
                onListening(channel.localAddress?.port ?? endpoint.port)
            },
            eventLoopGroupProvider: .shared(group), logger: quiet)
        do {
            try await application.run()
        } catch let error as IOError {
            throw HTTPServerError.cannotBind(endpoint, "\(error)")
        }
    }
}

package enum HTTPServerError: Error, CustomStringConvertible {
    case cannotBind(Endpoint, String)

    package var description: String {
        switch self {
        case .cannotBind(let endpoint, let reason):
            "the HTTP address \(endpoint) cannot be bound (\(reason)): "
                + "stop what uses it, or change the node's http address in cluster.conf"
        }
    }
}

/// What a request knows of its connection.
struct ConnectionContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let hangUp: @Sendable () -> Void

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        let channel = source.channel
        hangUp = { channel.triggerUserOutboundEvent(HangUp(), promise: nil) }
    }
}

/// Between Hummingbird's requests and the API's calls.
struct HTTPResponderAdapter: HTTPResponder {
    let api: HTTPAPI

    func respond(to request: Request, context: ConnectionContext) async throws -> Response {
        ThreadStanding.prompt.takeOnce()
        let headers = request.headers
        let method = request.method.rawValue
        let reply = await api.answer(method) { () throws(Problem) in
            try HTTPCall(
                method: method, target: request.head.path ?? "/",
                header: { name in HTTPField.Name(name).flatMap { headers[$0] } },
                fields: headers.map { HeaderField($0.name.canonicalName, $0.value) },
                body: request.body, hangUp: context.hangUp)
        }
        return response(reply)
    }

    private func response(_ reply: HTTPReply) -> Response {
        var fields = HTTPFields()
        fields[.contentType] = reply.contentType
        for header in reply.headers {
            if let name = HTTPField.Name(header.name) { fields[name] = header.value }
        }
        let status = HTTPResponse.Status(code: reply.status)
        if let length = reply.lengthLeftOut {
            // A length that is said is not counted from the body.
            fields[.contentLength] = "\(length)"
            return Response(status: status, headers: fields, body: ResponseBody())
        }
        return Response(
            status: status, headers: fields,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: reply.body)))
    }
}
