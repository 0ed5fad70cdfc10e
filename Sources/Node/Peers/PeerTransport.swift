package import Core
package import Logging
package import NIOCore
import Synchronization

/// Messages to and from the other nodes. Safe to call from any thread; see `PeerLimits` for the
/// protocol.
///
/// `onFrame` and `onState` are called on the transport's event loop, one at a time: what they do
/// there holds up the reading of sockets, which is backpressure when it is meant and a fault when
/// it is not. An owner on another event loop bounds what it has not handled yet with `setReading`.
package final class PeerTransport: Sendable {
    private let loop: any EventLoop
    private let exchange: NIOLoopBoundBox<PeerExchange>
    private let outboxes = Mutex<[NodeID: PeerOutbox]>([:])
    private let logger: Logger

    /// `rules` compares versions of the rules by the `wall` clock; without it there are none.
    /// `seed` drives the jitter of reconnecting. All of the transport runs on one loop of `group`;
    /// an event loop is a group of itself.
    package init(
        identity: PeerIdentity, fingerprint: ClusterFingerprint, rules: RuleService? = nil,
        wall: @escaping @Sendable () -> WallTime = { SystemClock.wall },
        group: any EventLoopGroup,
        timing: PeerTiming = PeerTiming(), seed: UInt64, logger: Logger,
        onFrame: @escaping @Sendable (NodeID, [UInt8]) -> Void,
        onState: @escaping @Sendable (NodeID, PeerConnectionState) -> Void
    ) {
        let loop = group.next()
        self.loop = loop
        self.logger = logger
        exchange = NIOLoopBoundBox.makeBoxSendingValue(
            PeerExchange(
                loop: loop, identity: identity, fingerprint: fingerprint, rules: rules,
                wall: wall, timing: timing, seed: seed, logger: logger, onFrame: onFrame,
                onState: onState),
            eventLoop: loop)
    }

    /// Listens. Returns the port, which is the asked one unless that was 0.
    package func bind(to endpoint: Endpoint) async throws(PeerTransportError) -> Int {
        let exchange = exchange
        let loop = loop
        do {
            return try await loop.flatSubmit {
                PeerChannels.listen(on: endpoint, for: exchange.value, loop: loop).map { channel in
                    exchange.value.started(channel)
                    return channel.localAddress?.port ?? endpoint.port
                }
            }.get()
        } catch {
            throw .cannotBind(endpoint, "\(error)")
        }
    }

    /// Dials these from now on and admits them by their names; others are turned away. Names that
    /// are known already get the new address at their next dialling.
    package func connect(to peers: [NodeID: Endpoint]) {
        for (node, endpoint) in peers.sorted(by: { $0.key < $1.key }) {
            let outbox = outboxes.withLock { outboxes in
                let outbox = outboxes[node] ?? PeerOutbox()
                outboxes[node] = outbox
                return outbox
            }
            let exchange = exchange
            loop.execute { exchange.value.connect(node, at: endpoint, outbox: outbox) }
        }
    }

    /// Queues a message. False when it was dropped: the peer is not connected, its queue is full,
    /// or the message is above `Limits.frameMax`. True promises nothing but the attempt.
    package func send(
        _ message: [UInt8], to node: NodeID, priority: PeerPriority = .urgent
    ) -> Bool {
        guard message.count <= Limits.frameMax else {
            logger.error(
                "a message of \(message.count) bytes is above \(Limits.frameMax): dropped",
                metadata: ["peer": "\(node)"])
            return false
        }
        guard let outbox = outboxes.withLock({ $0[node] }) else { return false }
        switch outbox.offer(message, priority) {
        case .dropped:
            return false
        case .queued:
            return true
        case .queuedFirst:
            let exchange = exchange
            loop.execute { exchange.value.drain(node) }
            return true
        }
    }

    package func isConnected(to node: NodeID) -> Bool {
        outboxes.withLock { $0[node] }?.isConnected ?? false
    }

    package func queuedBytes(for node: NodeID) -> Int {
        outboxes.withLock { $0[node] }?.queuedBytes ?? 0
    }

    /// The incarnation that later handshakes show.
    package func setIncarnation(_ incarnation: Incarnation) {
        let exchange = exchange
        loop.execute { exchange.value.setIncarnation(incarnation) }
    }

    /// False stops taking messages from admitted peers, whose own queues then fill. Meant for
    /// moments: a peer that nobody reads for `PeerTiming.silenceMax` ends its connection.
    package func setReading(_ isReading: Bool) {
        let exchange = exchange
        loop.execute { exchange.value.setReading(isReading) }
    }

    package func status() async throws -> PeerTransportStatus {
        let exchange = exchange
        return try await loop.submit {
            PeerTransportStatus(
                peers: exchange.value.status, strangers: exchange.value.strangerCount,
                refusals: exchange.value.refusalCount)
        }.get()
    }

    /// Ends all connections and stops listening and dialling.
    package func shutDown() async {
        let exchange = exchange
        do {
            try await loop.flatSubmit { exchange.value.shutDown() }.get()
        } catch {
            logger.debug("shutting down: \(error)")
        }
    }
}

package struct PeerTransportStatus: Sendable {
    package var peers: [PeerStatus]
    /// Connections that have not finished their handshake.
    package var strangers: Int
    /// Connections to the peer port that were ended for what they sent or did not send.
    package var refusals: UInt64
}

package enum PeerTransportError: Error, CustomStringConvertible {
    case cannotBind(Endpoint, String)

    package var description: String {
        switch self {
        case .cannotBind(let endpoint, let reason):
            "the peer address \(endpoint) cannot be bound (\(reason)): "
                + "stop what uses it, or change the node's peer address in cluster.conf"
        }
    }
}
