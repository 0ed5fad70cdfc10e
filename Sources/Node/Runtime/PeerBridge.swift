package import Core
package import Logging
package import NodeCore
internal import Replication

/// Between the peers' transport and the core: decodes on the loop that received, encodes on the
/// core's thread, and tells the core's messages from those about attributes by their first byte.
package final class PeerBridge: PeerSending {
    private let inbox: CoreInbox
    private let metrics: NodeMetrics
    private let logger: Logger
    private let transport = Monitor<PeerTransport?>(nil)
    private let onAttributes: @Sendable (AttributeMessage, NodeID) -> Void
    private let onTwin: @Sendable (String) -> Void

    package init(
        inbox: CoreInbox, metrics: NodeMetrics, logger: Logger,
        onAttributes: @escaping @Sendable (AttributeMessage, NodeID) -> Void,
        onTwin: @escaping @Sendable (String) -> Void
    ) {
        self.inbox = inbox
        self.metrics = metrics
        self.logger = logger
        self.onAttributes = onAttributes
        self.onTwin = onTwin
    }

    /// The transport is made after the bridge, since it calls the bridge.
    package func attach(_ transport: PeerTransport) {
        self.transport.withLock { $0 = transport }
    }

    // MARK: - Out

    package func send(_ message: PeerMessage, to node: NodeID) -> Bool {
        let bytes = message.encoded()
        let priority = Self.priority(of: message, bytes: bytes.count)
        return transport.withLock(\.self)?.send(bytes, to: node, priority: priority) ?? false
    }

    /// What only catches up lets the rest go first, and what is large the small.
    private static func priority(of message: PeerMessage, bytes: Int) -> PeerPriority {
        switch message {
        case .replication(.fetched), .replication(.syncReply): .bulk
        case .gossip, .replication, .awaited: bytes <= PeerLimits.promptMax ? .prompt : .urgent
        }
    }

    package func send(_ message: AttributeMessage, to node: NodeID) -> Bool {
        let isSent =
            transport.withLock(\.self)?.send(message.encoded, to: node, priority: .bulk) ?? false
        metrics.sent(isSent)
        return isSent
    }

    // MARK: - In

    package func received(_ bytes: [UInt8], from node: NodeID) {
        metrics.messagesIn.increment()
        if bytes.first == AttributeMessage.family {
            receivedAttributes(bytes, from: node)
            return
        }
        do {
            let message = try PeerMessage(decoding: bytes)
            var until: Instant?
            if case .awaited(_, let patience) = message {
                until = SystemClock.monotonic + patience
            }
            if !inbox.offer(.message(message, from: node), bytes: bytes.count, until: until) {
                metrics.messagesDropped.increment()
            }
        } catch {
            unreadable(error, from: node)
        }
    }

    private func receivedAttributes(_ bytes: [UInt8], from node: NodeID) {
        do {
            onAttributes(try AttributeMessage(decoding: bytes), node)
        } catch {
            unreadable(error, from: node)
        }
    }

    private func unreadable(_ error: any Error, from node: NodeID) {
        metrics.messagesUnreadable.increment()
        logger.warning("a message of \(node) cannot be read and is dropped: \(error)")
    }

    package func changed(_ node: NodeID, _ state: PeerConnectionState) {
        switch state {
        case .connected:
            inbox.post(.input(.connected(node)))
        case .refused:
            inbox.post(.input(.disconnected(node, refused: true)))
        case .lost, .rejected:
            // The transport has said why.
            inbox.post(.input(.disconnected(node, refused: false)))
        case .rejectedByPeer(let rejection):
            inbox.post(.input(.disconnected(node, refused: false)))
            if rejection.reason == .twin { onTwin("\(node) says: \(rejection)") }
        }
    }
}
