internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// The transport over real sockets: HTTP/1.1 with kept connections, through AsyncHTTPClient.
///
/// The library's own retries are off: whether and where a request goes again is decided by those
/// who know what it means, and a node that refuses connections must be known at once.
package struct HTTPTransport: Transport {
    package static let answerBytesMax = 64 << 20
    /// A node that says nothing for so long, once a request is written, is not waited for.
    package static let silenceMax: Duration = .seconds(60)
    private static let connectTimeout = TimeAmount.seconds(2)

    private let client: HTTPClient
    private let answerBytesMax: Int

    package init(
        connectionsPerNode: Int, answerBytesMax: Int = HTTPTransport.answerBytesMax
    ) {
        self.answerBytesMax = answerBytesMax
        var configuration = HTTPClient.Configuration()
        configuration.timeout = HTTPClient.Configuration.Timeout(
            connect: HTTPTransport.connectTimeout, read: TimeAmount(HTTPTransport.silenceMax))
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit =
            max(2, connectionsPerNode)
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        client = HTTPClient(
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: configuration)
    }

    package func shutdown() async {
        do {
            try await client.shutdown()
        } catch {
            // Shut down before: nothing is left to close.
            return
        }
    }

    package func perform(
        _ call: HTTPCall, at node: NodeAddress, timeout: Duration
    ) async throws(TransportFailure) -> HTTPReply {
        var request = HTTPClientRequest(url: "http://\(node)\(call.target)")
        request.method = HTTPMethod(rawValue: call.method.rawValue)
        for header in call.headers { request.headers.add(name: header.name, value: header.value) }
        if let body = call.body { request.body = .bytes(ByteBuffer(bytes: body)) }
        do {
            let response = try await client.execute(request, timeout: TimeAmount(timeout))
            let body = try await response.body.collect(upTo: answerBytesMax)
            let retryAfter = response.headers.first(name: "Retry-After").flatMap(Int64.init)
            return HTTPReply(
                status: Int(response.status.code),
                retryAfter: retryAfter.flatMap { $0 >= 0 ? .seconds(min($0, 3600)) : nil },
                body: Array(buffer: body))
        } catch {
            throw HTTPTransport.failure(error)
        }
    }

    /// Sorts errors by the one question that counts: can the node have got the request?
    private static func failure(_ error: any Error) -> TransportFailure {
        if let error = error as? HTTPClientError {
            switch error {
            case .connectTimeout, .getConnectionFromPoolTimeout, .invalidURL, .emptyHost,
                .alreadyShutdown:
                return .notConnected(error.shortDescription)
            case .deadlineExceeded, .readTimeout, .writeTimeout:
                return .timedOut
            default:
                return .broken(error.shortDescription)
            }
        }
        if let error = error as? NIOConnectionError {
            if error.connectionErrors.isEmpty, error.dnsAError != nil || error.dnsAAAAError != nil {
                return .notConnected("the name \(error.host) cannot be resolved")
            }
            return .notConnected("refused or unreachable")
        }
        if let error = error as? IOError, error.errnoCode == ECONNREFUSED {
            return .notConnected("refused")
        }
        return .broken("\(error)")
    }
}
