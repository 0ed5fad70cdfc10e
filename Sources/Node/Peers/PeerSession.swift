package import Core
import Wire

/// One connection's conversation: handshake, pings, silence. Frames and instants in, effects out.
///
///     dialler:   hello →            ← welcome | refusal    then message →, ping →, ← pong
///     acceptor:        → hello   welcome | refusal ←       then → message, → ping, pong ←
///
/// The dialler waits for the welcome before it sends anything else, so the acceptor never holds a
/// message of a peer that it has not admitted.
package struct PeerSession: Sendable {
    package enum Role: Hashable, Sendable {
        case dialler(of: NodeID)
        case acceptor
    }

    package enum Effect: Hashable, Sendable {
        /// Write a frame now, before anything that is queued.
        case send(PeerFrame)
        /// The greeting fits this node; decide what a single connection cannot know (is the name
        /// in the cluster, does it live twice) and answer with `judge`.
        case consult(PeerIdentity)
        /// The handshake is done: a dialler may send, an acceptor will deliver.
        case open(PeerIdentity)
        case deliver([UInt8])
        /// After the effects before it; nothing follows.
        case close(PeerClosing)
    }

    private enum Phase {
        /// The other side's greeting is awaited. Next: `consulting`, or `closed`.
        case greeting(deadline: Instant)
        /// The greeting is read, the verdict is awaited. Next: `open`, or `closed`.
        case consulting(PeerIdentity, deadline: Instant)
        /// Until silence, damage or the other side ends it. Next: `closed`.
        case open(PeerIdentity)
        case closed
    }

    package let role: Role
    private var greeting: PeerGreeting
    private let timing: PeerTiming
    /// The wall clock at the beginning: a handshake is short.
    private let wall: WallTime
    /// What the other side said of its versions of the rules.
    package private(set) var peerRules: [RuleNotice] = []
    /// Where the two tables part, in times to come.
    package private(set) var divergence: RuleDivergence?
    private var phase: Phase
    private var lastAdvance: Instant
    private var nextPing: Instant
    private var pings: UInt64 = 0
    /// When anything last came in, or a write made progress.
    package private(set) var lastMoved: Instant
    /// When anything last came in. A write that the kernel took says nothing of the other process:
    /// one that died with its machine, or behind a link that carries nothing, takes writes for
    /// long.
    package private(set) var lastHeard: Instant

    /// `identity` and `fingerprint` are this node's own.
    package init(
        role: Role, identity: PeerIdentity, fingerprint: ClusterFingerprint, timing: PeerTiming,
        at now: Now, into effects: inout [Effect]
    ) {
        self.role = role
        self.timing = timing
        wall = now.wall
        let now = now.monotonic
        phase = .greeting(deadline: now + timing.handshakeDeadline)
        lastAdvance = now
        lastMoved = now
        lastHeard = now
        nextPing = now
        switch role {
        case .dialler(let target):
            greeting = PeerGreeting(identity: identity, target: target, fingerprint: fingerprint)
            effects.append(.send(PeerFrame(kind: .hello, payload: greeting.encoded)))
        case .acceptor:
            // The target is filled in when the dialler has said its name.
            greeting = PeerGreeting(
                identity: identity, target: identity.node, fingerprint: fingerprint)
        }
    }

    /// The kinds of frames that may come now; all others end the connection by their header.
    package var due: Set<PeerFrameKind> {
        switch (phase, role) {
        case (.greeting, .dialler): [.welcome, .refusal]
        case (.greeting, .acceptor): [.hello]
        case (.open, .dialler): [.pong, .refusal]
        case (.open, .acceptor): [.ping, .message, .refusal]
        case (.consulting, _), (.closed, _): []
        }
    }

    /// The other process, once it is admitted.
    package var peer: PeerIdentity? {
        if case .open(let peer) = phase { peer } else { nil }
    }

    package var isClosed: Bool {
        if case .closed = phase { true } else { false }
    }

    package mutating func receive(
        _ frame: PeerFrame, at now: Instant, into effects: inout [Effect]
    ) {
        precondition(due.contains(frame.kind), "the decoder let a \(frame.kind) frame pass")
        heard(at: now)
        switch frame.kind {
        case .hello, .welcome:
            read(frame.payload, into: &effects)
        case .refusal:
            let rejection: PeerRejection
            do {
                rejection = try PeerRejection.decode(frame.payload)
            } catch {
                rejection = PeerRejection(
                    .garbled, field: "refusal", theirs: "\(error)", ours: "")
            }
            close(.refusedByPeer(rejection), into: &effects)
        case .ping:
            effects.append(.send(PeerFrame(kind: .pong, payload: frame.payload)))
        case .pong:
            break
        case .message:
            effects.append(.deliver(frame.payload))
        }
    }

    /// The answer to `.consult`: nil admits.
    package mutating func judge(
        _ rejection: PeerRejection?, at now: Instant, into effects: inout [Effect]
    ) {
        guard case .consulting(let peer, _) = phase else { return }
        if let rejection {
            refuse(rejection, into: &effects)
            return
        }
        if role == .acceptor {
            greeting.target = peer.node
            effects.append(.send(PeerFrame(kind: .welcome, payload: greeting.encoded)))
        }
        phase = .open(peer)
        lastMoved = now
        nextPing = now + timing.pingInterval
        effects.append(.open(peer))
    }

    /// Bytes came in or went out: the connection is alive even while a large frame is under way.
    package mutating func moved(at now: Instant) {
        lastMoved = now
    }

    /// Bytes came in: the other process lives.
    package mutating func heard(at now: Instant) {
        lastMoved = now
        lastHeard = now
    }

    package mutating func advance(to now: Instant, into effects: inout [Effect]) {
        // After an own pause (a stopped process, a sleeping machine) the silence is our own.
        if now - lastAdvance > timing.silenceMax / 4 { heard(at: now) }
        lastAdvance = now
        switch phase {
        case .greeting(let deadline), .consulting(_, let deadline):
            if now >= deadline { close(.handshakeTimeout, into: &effects) }
        case .open:
            if now - lastMoved >= timing.silenceMax {
                close(.silent(timing.silenceMax), into: &effects)
            } else if role != .acceptor, now >= nextPing {
                nextPing = now + timing.pingInterval
                pings += 1
                var writer = ByteWriter(capacity: 8)
                writer.write(fixed: pings)
                effects.append(.send(PeerFrame(kind: .ping, payload: writer.bytes)))
            }
        case .closed:
            break
        }
    }

    /// The bytes are no frame, or the transport ended.
    package mutating func fail(_ closing: PeerClosing, into effects: inout [Effect]) {
        if !isClosed { close(closing, into: &effects) }
    }

    /// Ends the connection from this side, with a word for the other.
    package mutating func dismiss(_ rejection: PeerRejection, into effects: inout [Effect]) {
        if !isClosed { refuse(rejection, into: &effects) }
    }

    private mutating func read(_ payload: [UInt8], into effects: inout [Effect]) {
        guard case .greeting(let deadline) = phase else { return }
        let theirs: PeerGreeting
        do {
            theirs = try PeerGreeting.decode(payload)
        } catch {
            refuse(error, into: &effects)
            return
        }
        let parting = RuleDivergence(greeting.fingerprint.rules, theirs.fingerprint.rules)
        if let rejection = mismatch(theirs, parting) {
            refuse(rejection, into: &effects)
        } else {
            peerRules = theirs.fingerprint.rules
            divergence = parting
            phase = .consulting(theirs.identity, deadline: deadline)
            effects.append(.consult(theirs.identity))
        }
    }

    /// The cluster first: in another cluster, names mean nothing.
    private func mismatch(
        _ theirs: PeerGreeting, _ divergence: RuleDivergence?
    ) -> PeerRejection? {
        if let difference = greeting.fingerprint.difference(from: theirs.fingerprint) {
            return PeerRejection(
                .fingerprint, field: difference.field, theirs: difference.theirs,
                ours: difference.ours)
        }
        if let divergence, divergence.end <= wall { return divergence.rejection }
        if theirs.target != greeting.identity.node {
            return PeerRejection(
                .wrongAddress, field: "node", theirs: theirs.target.name,
                ours: greeting.identity.node.name)
        }
        if case .dialler(let target) = role, theirs.identity.node != target {
            return PeerRejection(
                .wrongAddress, field: "node", theirs: target.name,
                ours: theirs.identity.node.name)
        }
        return nil
    }

    private mutating func refuse(_ rejection: PeerRejection, into effects: inout [Effect]) {
        effects.append(.send(PeerFrame(kind: .refusal, payload: rejection.encoded)))
        close(.refused(rejection), into: &effects)
    }

    private mutating func close(_ closing: PeerClosing, into effects: inout [Effect]) {
        phase = .closed
        effects.append(.close(closing))
    }
}

/// Why a connection ended.
package enum PeerClosing: Hashable, Sendable, CustomStringConvertible {
    case handshakeTimeout
    case silent(Duration)
    case badFrame(PeerFrameError)
    /// This side refused the other.
    case refused(PeerRejection)
    case refusedByPeer(PeerRejection)
    case endedByPeer
    case transport(String)
    /// Another stranger needed the place.
    case crowdedOut
    case shutdown

    package var description: String {
        switch self {
        case .handshakeTimeout: "no handshake in time: the other process hangs, or is no peer"
        case .silent(let duration): "silent for \(duration.milliseconds) ms"
        case .badFrame(let error): "\(error)"
        case .refused(let rejection): "\(rejection)"
        case .refusedByPeer(let rejection):
            "refused by the peer: \(rejection.sentence(heard: true))"
        case .endedByPeer: "ended by the peer"
        case .transport(let reason): reason
        case .crowdedOut:
            "\(PeerLimits.strangersMax) connections wait for their handshake, the oldest gives way"
        case .shutdown: "this node shuts down"
        }
    }
}
