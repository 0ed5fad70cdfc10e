package import Core
import NIOCore

/// How the connection to a peer stands, as far as this node's own dialling shows. Reported when it
/// changes.
package enum PeerConnectionState: Hashable, Sendable {
    /// Messages to the peer are taken.
    case connected(PeerIdentity)
    /// Nobody listens at its address: it is not running.
    case refused
    /// An open connection ended, or the peer could not be reached.
    case lost(String)
    /// This node does not accept the peer's greeting.
    case rejected(PeerRejection)
    /// The peer does not accept this node's. With the reason `twin` another process runs under this
    /// node's name, and has done so for `PeerTiming.twinPatience`: this one should stop.
    case rejectedByPeer(PeerRejection)
}

/// Counters of one peer, for status and metrics.
package struct PeerStatus: Hashable, Sendable {
    package var node: NodeID
    package var isConnected: Bool
    package var queuedBytes: Int
    package var sent: PeerTraffic
    package var received: PeerTraffic
    /// Messages that were not taken: not connected, or the queue was full.
    package var dropped: UInt64
    package var connects: UInt64
}

/// What the exchange keeps of one peer that it dials.
final class PeerDial {
    let node: NodeID
    let outbox: PeerOutbox
    var endpoint: Endpoint
    var backoff: PeerBackoff
    /// Dialling, shaking hands or open.
    var link: PeerLink?
    /// Set while the next attempt is waited for.
    var redial: Scheduled<Void>?
    var reported: PeerConnectionState?
    private(set) var connects: UInt64 = 0
    private var twinSince: Instant?

    init(node: NodeID, endpoint: Endpoint, outbox: PeerOutbox, backoff: PeerBackoff) {
        self.node = node
        self.endpoint = endpoint
        self.outbox = outbox
        self.backoff = backoff
    }

    func opened() {
        connects += 1
        twinSince = nil
        backoff.reset()
    }

    /// What the end of a connection means.
    func state(
        after closing: PeerClosing, timing: PeerTiming, at now: Instant
    ) -> PeerConnectionState {
        switch closing {
        case .refused(let rejection):
            return .rejected(rejection)
        case .refusedByPeer(let rejection) where rejection.reason == .twin:
            let since = twinSince ?? now
            twinSince = since
            let isSettled = now - since >= timing.twinPatience
            return isSettled ? .rejectedByPeer(rejection) : .lost("\(closing)")
        case .refusedByPeer(let rejection) where rejection.reason != .superseded:
            return .rejectedByPeer(rejection)
        case .refusedByPeer, .handshakeTimeout, .silent, .badFrame, .endedByPeer, .transport,
            .crowdedOut, .shutdown:
            return .lost("\(closing)")
        }
    }

    /// What a failed attempt to connect means.
    func state(after error: any Error) -> PeerConnectionState {
        if PeerChannels.isRefusal(error) { return .refused }
        return .lost("\(endpoint) cannot be reached: \(error)")
    }
}

/// Keeps a flood of bad connections from becoming a flood of log lines.
package struct PeerLogGate: Sendable {
    private let interval: Duration
    private var last: Instant?
    private var suppressed = 0

    package init(interval: Duration) {
        self.interval = interval
    }

    /// The number of lines that were held back since the last one; nil holds this one back.
    package mutating func admit(at now: Instant) -> Int? {
        if let last, now - last < interval {
            suppressed += 1
            return nil
        }
        last = now
        defer { suppressed = 0 }
        return suppressed
    }
}
