import Core
import Logging
import NIOCore
import NIOPosix

/// All peer connections of one node, on one event loop: whom to dial and when again, whom to admit.
/// Not thread-safe by design: every method runs on `loop`.
final class PeerExchange {
    let loop: any EventLoop
    let timing: PeerTiming
    let logger: Logger
    private(set) var identity: PeerIdentity
    private let fields: ClusterFingerprint
    private let rules: RuleService?
    private let wall: @Sendable () -> WallTime
    private let onFrame: @Sendable (NodeID, [UInt8]) -> Void
    private let onState: @Sendable (NodeID, PeerConnectionState) -> Void

    private var random: RandomSource
    private var dials: [NodeID: PeerDial] = [:]
    /// All live connections, in the order in which they began.
    private var links: [PeerLink] = []
    private var received: [NodeID: PeerTraffic] = [:]
    private var refusals: UInt64 = 0
    private var gate = PeerLogGate(interval: .seconds(1))
    private var server: (any Channel)?
    private var ticker: RepeatedTask?
    private var isReading = true
    private var isShutDown = false

    init(
        loop: any EventLoop, identity: PeerIdentity, fingerprint: ClusterFingerprint,
        rules: RuleService?, wall: @escaping @Sendable () -> WallTime, timing: PeerTiming,
        seed: UInt64, logger: Logger,
        onFrame: @escaping @Sendable (NodeID, [UInt8]) -> Void,
        onState: @escaping @Sendable (NodeID, PeerConnectionState) -> Void
    ) {
        self.loop = loop
        self.identity = identity
        fields = fingerprint
        self.rules = rules
        self.wall = wall
        self.timing = timing
        self.logger = logger
        self.onFrame = onFrame
        self.onState = onState
        random = RandomSource(seed: seed)
    }

    func now() -> Instant {
        Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds))
    }

    func clock() -> Now { Now(monotonic: now(), wall: wall()) }

    /// With what the rules are known to be by now.
    var fingerprint: ClusterFingerprint {
        var fingerprint = fields
        if let rules { fingerprint.rules = rules.notices }
        return fingerprint
    }

    // MARK: From the transport

    func started(_ server: any Channel) {
        self.server = server
        if isShutDown { server.close(promise: nil) }
    }

    func setIncarnation(_ incarnation: Incarnation) {
        identity.incarnation = incarnation
    }

    /// Dials each from now on, and admits it by its name.
    func connect(_ node: NodeID, at endpoint: Endpoint, outbox: PeerOutbox) {
        guard !isShutDown, node != identity.node else { return }
        if let known = dials[node] {
            known.endpoint = endpoint
            return
        }
        let dial = PeerDial(
            node: node, endpoint: endpoint, outbox: outbox,
            backoff: PeerBackoff(first: timing.redialFirst, max: timing.redialMax))
        dials[node] = dial
        startTicking()
        start(dial)
    }

    func drain(_ node: NodeID) {
        dials[node]?.link?.drain()
    }

    /// Stops or goes on taking messages from the sockets of admitted peers.
    func setReading(_ isReading: Bool) {
        guard isReading != self.isReading else { return }
        self.isReading = isReading
        for link in links where link.role == .acceptor && link.peer != nil {
            link.setReading(isReading)
        }
    }

    var status: [PeerStatus] {
        dials.values.sorted { $0.node < $1.node }.map { dial in
            PeerStatus(
                node: dial.node, isConnected: dial.outbox.isConnected,
                queuedBytes: dial.outbox.queuedBytes, sent: dial.outbox.sent,
                received: received[dial.node] ?? PeerTraffic(), dropped: dial.outbox.dropped,
                connects: dial.connects)
        }
    }

    var strangerCount: Int { strangers.count }
    var refusalCount: UInt64 { refusals }

    func shutDown() -> EventLoopFuture<Void> {
        isShutDown = true
        ticker?.cancel()
        for dial in dials.values {
            dial.redial?.cancel()
            dial.outbox.disconnect()
        }
        let channels = links.compactMap(\.channel) + (server.map { [$0] } ?? [])
        for link in links { link.fail(.shutdown) }
        server?.close(promise: nil)
        return EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: loop)
    }

    // MARK: From the links

    /// A connection is up. False when it is not wanted any more.
    func began(_ link: PeerLink) -> Bool {
        if isShutDown { return false }
        startTicking()
        links.append(link)
        let strangers = strangers
        if strangers.count > PeerLimits.strangersMax { strangers[0].fail(.crowdedOut) }
        return true
    }

    /// May this process be admitted? Nil admits, and ends what it replaces.
    func consult(_ newcomer: PeerIdentity, _ link: PeerLink) -> PeerRejection? {
        let name = newcomer.node.name
        if newcomer.node == identity.node {
            return PeerRejection(.twin, field: "node", theirs: name, ours: name)
        }
        guard dials[newcomer.node] != nil else {
            return PeerRejection(
                .stranger, field: "node", theirs: name, ours: identity.node.name)
        }
        let others = links.filter { $0 !== link && $0.peer?.node == newcomer.node }
        let lives = others.compactMap { other in
            other.peer.map {
                PeerTwins.Link(
                    startNonce: $0.startNonce, lastHeard: other.lastHeard ?? .zero)
            }
        }
        let verdict = PeerTwins.judge(
            startNonce: newcomer.startNonce, against: lives, silence: timing.twinSilence,
            at: now())
        if verdict == .twin {
            return PeerRejection(.twin, field: "node", theirs: name, ours: identity.node.name)
        }
        for other in others {
            if other.peer?.startNonce != newcomer.startNonce {
                other.dismiss(PeerRejection(.twin, field: "node", theirs: name, ours: name))
            } else if other.role == .acceptor, link.role == .acceptor {
                other.dismiss(PeerRejection(.superseded, field: "node", theirs: name, ours: name))
            }
        }
        return nil
    }

    func opened(_ link: PeerLink, _ peer: PeerIdentity) {
        guard let dial = dials[peer.node] else { return }
        rules?.heard(link.peerRules, of: peer.node, at: clock())
        switch link.role {
        case .dialler:
            dial.opened()
            // The outbox opens first: whoever hears of the connection may send at once.
            link.take(from: dial.outbox, epoch: dial.outbox.connect())
            report(dial, .connected(peer))
        case .acceptor:
            if !isReading { link.setReading(false) }
            // It lives: there is no reason to wait out the rest of a backoff.
            dial.backoff.reset()
            if dial.redial != nil { start(dial) }
        }
    }

    func deliver(_ message: [UInt8], from node: NodeID) {
        received[node, default: PeerTraffic()].frames += 1
        received[node, default: PeerTraffic()].bytes += UInt64(
            PeerFrameHeader.size + message.count)
        onFrame(node, message)
    }

    func closed(_ link: PeerLink, _ closing: PeerClosing) {
        links.removeAll { $0 === link }
        switch link.role {
        case .acceptor:
            logEnd(of: link, closing)
        case .dialler(let node):
            guard let dial = dials[node], dial.link === link else { return }
            dial.link = nil
            dial.outbox.disconnect()
            if isShutDown { return }
            noteRules(closing, of: node)
            report(dial, dial.state(after: closing, timing: timing, at: now()))
            scheduleRedial(dial)
        }
    }

    // MARK: Inside

    /// Accepted connections that are not admitted yet, the oldest first.
    private var strangers: [PeerLink] {
        links.filter { $0.role == .acceptor && $0.peer == nil }
    }

    private func start(_ dial: PeerDial) {
        dial.redial?.cancel()
        dial.redial = nil
        guard !isShutDown, dial.link == nil else { return }
        let link = PeerLink(role: .dialler(of: dial.node), exchange: self)
        dial.link = link
        PeerChannels.dial(dial.endpoint, link, timing: timing, on: loop).assumeIsolated()
            .whenFailure { [self] error in
                guard dial.link === link else { return }
                dial.link = nil
                if isShutDown { return }
                report(dial, dial.state(after: error))
                scheduleRedial(dial)
            }
    }

    private func scheduleRedial(_ dial: PeerDial) {
        let wait = dial.backoff.next(&random)
        dial.redial = loop.assumeIsolated().scheduleTask(in: .nanoseconds(wait.nanoseconds)) {
            [self] in start(dial)
        }
    }

    private func startTicking() {
        guard ticker == nil, !isShutDown else { return }
        let tick = TimeAmount.nanoseconds(timing.tick.nanoseconds)
        let bound = NIOLoopBound(self, eventLoop: loop)
        ticker = loop.scheduleRepeatedTask(initialDelay: tick, delay: tick) { _ in
            bound.value.advance()
        }
    }

    /// A refusal because of the rules, by either side.
    private func noteRules(_ closing: PeerClosing, of node: NodeID) {
        switch closing {
        case .refused(let rejection) where rejection.isAboutRules:
            rules?.refused(rejection, heard: false, by: node, at: clock())
        case .refusedByPeer(let rejection) where rejection.isAboutRules:
            rules?.refused(rejection, heard: true, by: node, at: clock())
        case .handshakeTimeout, .silent, .badFrame, .refused, .refusedByPeer, .endedByPeer,
            .transport, .crowdedOut, .shutdown:
            break
        }
    }

    private func advance() {
        let now = clock()
        rules?.advance(to: now)
        for link in links {
            if let divergence = link.divergence, divergence.end <= now.wall {
                if let peer = link.peer {
                    rules?.refused(divergence.rejection, heard: false, by: peer.node, at: now)
                }
                link.dismiss(divergence.rejection)
                continue
            }
            // What is not read on purpose is no silence.
            if !isReading, link.role == .acceptor, link.peer != nil { link.moved() }
            link.advance()
        }
    }

    /// Only changes are reported: a node that is down is dialled many times.
    private func report(_ dial: PeerDial, _ state: PeerConnectionState) {
        guard dial.reported != state else { return }
        dial.reported = state
        let fields: Logger.Metadata = ["peer": "\(dial.node)", "address": "\(dial.endpoint)"]
        switch state {
        case .connected: logger.info("peer connected", metadata: fields)
        case .refused: logger.info("peer refuses connections: not running?", metadata: fields)
        case .lost(let reason): logger.info("peer lost: \(reason)", metadata: fields)
        case .rejected(let rejection):
            logger.warning("peer rejected: \(rejection)", metadata: fields)
        case .rejectedByPeer(let rejection):
            logger.warning(
                "rejected by peer: \(rejection.sentence(heard: true))", metadata: fields)
        }
        onState(dial.node, state)
    }

    private func logEnd(of link: PeerLink, _ closing: PeerClosing) {
        switch closing {
        case .endedByPeer, .shutdown, .refusedByPeer:
            return
        case .handshakeTimeout, .silent, .badFrame, .refused, .transport, .crowdedOut:
            refusals += 1
            guard let suppressed = gate.admit(at: now()) else { return }
            logger.warning(
                "a connection to the peer port was ended: \(closing)",
                metadata: ["from": "\(link.remoteAddress)", "unreported": "\(suppressed)"])
        }
    }
}
