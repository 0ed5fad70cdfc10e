/// One HTTP exchange with one node. The seam between what this module decides and the sockets:
/// tests put a scripted cluster in its place.
package protocol Transport: Sendable {
    func perform(
        _ call: HTTPCall, at node: NodeAddress, timeout: Duration
    ) async throws(TransportFailure) -> HTTPReply
}

package struct HTTPCall: Sendable, Hashable {
    package enum Method: String, Sendable {
        case get = "GET"
        case put = "PUT"
        case post = "POST"
        case delete = "DELETE"
    }

    package struct Header: Sendable, Hashable {
        package let name: String
        package let value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package var method: Method
    /// Path and query, encoded.
    package var target: String
    package var headers: [Header]
    package var body: [UInt8]?

    package init(_ method: Method, _ target: String, headers: [Header] = [], body: [UInt8]? = nil) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
    }
}

package struct HTTPReply: Sendable, Hashable {
    package var status: Int
    /// The header `Retry-After` in seconds, where the node sent one.
    package var retryAfter: Duration?
    package var body: [UInt8]

    package init(status: Int, retryAfter: Duration? = nil, body: [UInt8] = []) {
        self.status = status
        self.retryAfter = retryAfter
        self.body = body
    }
}

/// Why an exchange brought no answer. What matters is whether the node may have got the request.
package enum TransportFailure: Error, Hashable, Sendable {
    /// No connection came about: nothing was sent.
    case notConnected(String)
    /// The connection broke; the request may have arrived.
    case broken(String)
    /// No answer in time; the request may have arrived.
    case timedOut

    package var text: String {
        switch self {
        case .notConnected(let detail): "no connection (\(detail))"
        case .broken(let detail): "the connection broke (\(detail))"
        case .timedOut: "no answer in time"
        }
    }
}
