/// The client of a Quipu cluster: queries, and batches that are counted exactly once.
///
/// **Sending.** A producer seals its events into batches: an id (its own 128 bits and a sequence),
/// the time of sealing, and bytes. A sealed batch never changes. It is sent to one node; when no
/// final answer comes, the same bytes go under the same id to the next node: at once where a
/// connection failed, and once all connections have, or a node asked for it, after a wait that
/// grows and is drawn at random (`RetryPolicy`), around nodes that lately failed (`CircuitBreaker`,
/// `NodeBoard`). The cluster counts a batch once, however often it arrives, so a retry can never
/// count twice; what a retry must not do is change the bytes, or give a batch whose fate is unknown
/// a new id.
///
/// **Outcomes.** A batch ends counted, not counted (finally, with a reason), not attempted (nothing
/// was accepted anywhere) or unknown (`BatchAttempts` says when). An unknown is never presented as
/// anything else: it is named, and `GET /v1/batches/…` or the same bytes settle it later.
///
/// **Files.** A file is cut into batches at the ends of its records without changing a byte of them
/// (`RecordCutter`, `ValueCutter`), so that the same file, batch size, producer and time give the
/// same batches under the same ids, and a whole run can be repeated without counting anything
/// twice.
///
/// **Where it differs.** Kafka's idempotent producer gives up exactness when the producer restarts
/// or the broker forgets it; here identity belongs to the sealed batch, and forgetting means
/// refusing.
///
/// Invariants: what is decided is decided by synchronous values with tests (`Nodes`, `Batches`,
/// `Files`); the rest only moves bytes. No request is retried by the HTTP library underneath.
public struct QuipuClient: Sendable {
    /// The nodes in the order in which queries try them; those that lately failed come last.
    public let nodes: [NodeAddress]
    private let order: QueryOrder
    package let transport: any Transport
    private let sockets: HTTPTransport?
    private let timeout: Duration

    /// A client of the cluster that `nodes` belong to. Call `shutdown` when done.
    ///
    /// - Parameters:
    ///   - nodes: At least one address; any node answers everything.
    ///   - timeout: How long a query may take at one node before the next is asked.
    ///   - connectionsPerNode: How many requests run at one node at once.
    public init(
        nodes: [NodeAddress], timeout: Duration = .seconds(15), connectionsPerNode: Int = 8
    ) {
        precondition(!nodes.isEmpty, "a client needs at least one node")
        let sockets = HTTPTransport(connectionsPerNode: connectionsPerNode)
        self.nodes = nodes
        order = QueryOrder(nodes, time: .real)
        self.timeout = timeout
        self.sockets = sockets
        transport = sockets
    }

    package init(
        nodes: [NodeAddress], transport: any Transport, timeout: Duration = .seconds(15),
        time: ClientTime = .real
    ) {
        self.nodes = nodes
        order = QueryOrder(nodes, time: time)
        self.timeout = timeout
        self.transport = transport
        sockets = nil
    }

    /// Closes the client's connections.
    public func shutdown() async {
        await sockets?.shutdown()
    }

    /// Asks the nodes until one answers, in their order, those that lately failed last.
    ///
    /// A node that cannot be reached, or that says it cannot answer now (429, 5xx but 501), passes
    /// the request to the next; any other refusal is the cluster's word and final. So only what may
    /// be done twice, and by any node, is asked for in this way: what one node does to itself goes
    /// through `performAtOne`.
    package func perform(
        _ call: HTTPCall, at chosen: [NodeAddress]? = nil
    ) async throws(ClientError) -> NodeAnswer {
        var failures: [String] = []
        var refusal: ClientError?
        for node in chosen ?? order.next() {
            do {
                let reply = try await ask(call, at: node)
                if (200..<300).contains(reply.status) {
                    return NodeAnswer(node: node, status: reply.status, body: reply.body)
                }
                let error = ClientError.refused(
                    status: reply.status, detail: QuipuClient.detail(reply), node: node)
                let mayDifferElsewhere =
                    reply.status == 429 || (reply.status >= 500 && reply.status != 501)
                guard mayDifferElsewhere else { throw error }
                refusal = error
            } catch let failure as TransportFailure {
                failures.append("\(node): \(failure.text)")
            } catch let error as ClientError {
                throw error
            } catch {
                failures.append("\(node): \(error)")
            }
        }
        throw refusal ?? .unreachable(failures)
    }

    /// Asks one node for work of its own, such as a drain: the first with which a connection comes
    /// about, in the order of the list.
    ///
    /// The next node is asked only where nothing was sent. Whatever a node that was reached says or
    /// leaves unsaid, no other is asked: it would do to itself what was meant for this one, and
    /// this one might do it as well, later. Silence, a connection that breaks and 5xx (but 501)
    /// leave open whether the work is done.
    package func performAtOne(
        _ call: HTTPCall, at chosen: [NodeAddress]? = nil
    ) async throws(ClientError) -> NodeAnswer {
        var failures: [String] = []
        for node in chosen ?? nodes {
            let reply: HTTPReply
            do {
                reply = try await ask(call, at: node)
            } catch {
                guard case .notConnected = error else {
                    throw .uncertain(detail: error.text, node: node)
                }
                failures.append("\(node): \(error.text)")
                continue
            }
            if (200..<300).contains(reply.status) {
                return NodeAnswer(node: node, status: reply.status, body: reply.body)
            }
            let detail = QuipuClient.detail(reply)
            guard reply.status >= 500, reply.status != 501 else {
                throw .refused(status: reply.status, detail: detail, node: node)
            }
            throw .uncertain(detail: "it answered \(reply.status) (\(detail))", node: node)
        }
        throw .unreachable(failures)
    }

    private func ask(
        _ call: HTTPCall, at node: NodeAddress
    ) async throws(TransportFailure) -> HTTPReply {
        let start = order.now
        order.begins(at: node)
        do {
            let reply = try await transport.perform(call, at: node, timeout: timeout)
            order.ended(at: node, since: start, failed: reply.status == 504)
            return reply
        } catch {
            order.ended(at: node, since: start, failed: true)
            throw error
        }
    }

    private static func detail(_ reply: HTTPReply) -> String {
        do {
            let problem = try JSONValue(parsing: reply.body)
            if let text = problem["detail"]?.string ?? problem["title"]?.string { return text }
        } catch {
            // No problem+json: the body's beginning says more than nothing.
        }
        let text = String(decoding: reply.body.prefix(200), as: UTF8.self)
        return text.isEmpty ? "no reason given" : text.split(separator: "\n").joined(separator: " ")
    }
}

/// A successful answer and who gave it.
package struct NodeAnswer: Hashable, Sendable {
    package let node: NodeAddress
    package let status: Int
    package let body: [UInt8]

    /// The body as JSON.
    package func json() throws(ClientError) -> JSONValue {
        do {
            return try JSONValue(parsing: body)
        } catch {
            throw .unintelligible(detail: "\(error.reason) at byte \(error.offset)", node: node)
        }
    }
}
