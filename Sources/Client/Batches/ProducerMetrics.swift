internal import Core

/// A producer at one moment, for a service's own metrics.
public struct ProducerMetrics: Hashable, Sendable {
    /// What is known of one node.
    public struct Node: Hashable, Sendable {
        /// Whether the node is asked at all.
        public enum State: String, Hashable, Sendable {
            /// It is asked in its turn.
            case closed
            /// It failed of late: it is left alone for a while.
            case open
            /// One request is under way to find out whether it is back.
            case probing
        }

        /// The node's address.
        public let address: NodeAddress
        /// The state of its circuit breaker.
        public let state: State
        /// How long an answer takes, averaged over the last few; nil before the first one.
        public let latency: Duration?
        /// Requests that it was sent.
        public let requests: Int
        /// Those that it did not answer, or could not take.
        public let failures: Int
    }

    /// What ended so far.
    public let report: SendReport
    /// Attempts of any kind, first ones included.
    public let requests: Int
    /// Bytes of events in these.
    public let bytesSent: Int
    /// Batches under way now.
    public let inFlight: Int
    /// Batches that are sealed and wait for a place; only with a spool.
    public let queued: Int
    /// Batches whose time ran out and that wait to be tried again; only with a spool.
    public let timeouts: Int
    /// The spool, where there is one.
    public let spool: SpoolStatus?
    /// Each of the client's nodes, in its order.
    public let nodes: [Node]
}

extension ProducerMetrics.Node {
    init(_ node: NodeBoard.Node, at address: NodeAddress) {
        self.address = address
        state =
            switch node.breaker.state {
            case .closed: .closed
            case .open: .open
            case .probing: .probing
            }
        latency = node.latency
        requests = node.requests
        failures = node.failures
    }
}
