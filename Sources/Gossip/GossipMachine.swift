package import Core

/// One node's gossip: its own state, what it holds of the others, and who it thinks is alive.
///
/// The shell (or the simulator) calls `advance` when `nextDeadline` is reached, hands in what comes
/// from peers with `receive`, and carries out the effects in order.
package struct GossipMachine: Sendable {
    package let node: NodeID
    package let cluster: String
    package let interval: Duration

    var own: EndpointState
    var roster = Roster()
    var seeds: [NodeID]
    /// Nodes that left the ring: late claims about them must not bring them back. Asked for
    /// membership and never iterated; grows by decided ring changes only, not by what peers say.
    var removed: Set<NodeID> = []
    var clock: ListeningClock
    var random: RandomSource
    /// The name of the last peer that was probed in turn.
    var probedLast: NodeID?
    /// The generation by which others outrank us, reported once.
    var outrankedBy: Int64 = 0
    private var deadline: Instant
    private var phase = Phase.running

    private enum Phase {
        case running
        /// After `leave`: silent for ever.
        case left
    }

    /// - Parameters:
    ///   - members: the nodes that the configuration or the ring names; this one may be among them.
    ///   - seeds: whom to turn to when nobody else is known to live; may equal `members`.
    ///   - generation: from `Generation.next`, durably stored before this call.
    package init(
        self node: NodeID, members: [NodeID], seeds: [NodeID], cluster: String, interval: Duration,
        generation: Int64, random: RandomSource, now: Now
    ) {
        precondition(generation > 0, "a generation is positive")
        precondition(interval > .zero, "a gossip interval is positive")
        self.node = node
        self.cluster = cluster
        self.interval = interval
        self.random = random
        self.seeds = seeds.filter { $0 != node }.sorted()
        own = EndpointState(generation: generation)
        own.beat()
        clock = ListeningClock(interval: interval, now: now.monotonic)
        deadline = now.monotonic
        for member in members + seeds where member != node {
            precondition(roster.admit(member) != nil, "more members than \(Limits.nodesMax)")
        }
    }

    // MARK: Time

    /// When `advance` wants to be called next; never after `leave`.
    package var nextDeadline: Instant {
        switch phase {
        case .running: deadline
        case .left: Instant(nanoseconds: .max)
        }
    }

    /// One round, where it is due: beat, judge the silent, gossip, probe.
    package mutating func advance(to now: Now, into effects: inout [GossipEffect]) {
        guard now.monotonic >= nextDeadline else { return }
        clock.observe(now.monotonic)
        // Rounds that were missed are not made up for: a burst would say nothing new.
        let next = deadline + interval
        deadline = next > now.monotonic ? next : now.monotonic + interval
        own.beat()
        convictSilent(into: &effects)
        gossip(into: &effects)
        probeInTurn(into: &effects)
    }

    // MARK: Messages

    package mutating func receive(
        _ message: GossipMessage, from peer: NodeID, at now: Now,
        into effects: inout [GossipEffect]
    ) {
        guard phase == .running, peer != node, !removed.contains(peer) else { return }
        clock.observe(now.monotonic)
        switch message {
        case .syn(let cluster, let digests):
            guard cluster == self.cluster else {
                effects.append(.foreignCluster(peer, name: cluster))
                return
            }
            answer(digests, to: peer, at: now, into: &effects)
        case .ack(let deltas, let requests):
            for delta in deltas { apply(delta, at: now, into: &effects) }
            let wanted = requests.compactMap(delta(for:))
            guard !wanted.isEmpty else { return }
            effects.append(.send(.ack2(deltas: fitting(wanted)), to: peer))
        case .ack2(let deltas):
            for delta in deltas { apply(delta, at: now, into: &effects) }
        case .probe(let nonce):
            let answer = GossipMessage.probeAnswer(
                nonce: nonce, generation: own.generation, wall: PeerClock.shown(now.wall))
            effects.append(.send(answer, to: peer))
        case .probeAnswer(let nonce, let generation, let wall):
            take(
                answer: nonce, generation: generation, wall: wall, from: peer, into: &effects)
        case .shutdown(let delta):
            // Only a node itself says its farewell; others pass on the state that says so.
            guard delta.node == peer else { return }
            apply(delta, at: now, into: &effects)
        }
    }

    // MARK: What this node says of itself

    package mutating func set(_ key: GossipKey, _ text: String) {
        guard phase == .running else { return }
        own.set(key, text)
    }

    package mutating func set(_ status: NodeStatus) {
        set(.status, status.rawValue)
    }

    /// Goes on under a higher generation, after `outranked`. Stored before this call.
    ///
    /// - Parameter replacesVoid: the present one was drawn from a clock so far ahead that every
    ///   peer
    ///   refuses it; nobody holds it, so that a lower one takes nothing back.
    package mutating func takeGeneration(_ generation: Int64, replacesVoid: Bool = false) {
        precondition(
            replacesVoid || generation > own.generation, "a generation never goes back")
        var next = EndpointState(generation: generation)
        for value in own.values { next.set(value.key, value.text) }
        next.beat()
        own = next
    }

    /// Tells all live peers that this node stops on purpose, and falls silent.
    package mutating func leave(into effects: inout [GossipEffect]) {
        guard phase == .running else { return }
        own.set(.status, NodeStatus.shutdown.rawValue)
        own.beat()
        phase = .left
        for peer in roster.peers where peer.isUp {
            let farewell = own.delta(of: node, after: 0)
            effects.append(.send(.shutdown(farewell), to: peer.node))
        }
    }

    // MARK: Membership, as the ring decides it

    /// A node of the ring. False where the cluster is full.
    package mutating func add(_ member: NodeID) -> Bool {
        removed.remove(member)
        return member == node || roster.admit(member) != nil
    }

    /// The node left the ring for good. What is still said of it, or by it, is ignored until it is
    /// added again.
    package mutating func remove(_ member: NodeID, into effects: inout [GossipEffect]) {
        guard member != node else { return }
        removed.insert(member)
        seeds.removeAll { $0 == member }
        guard let index = roster.index(of: member) else { return }
        if roster.peers[index].isUp { effects.append(.peerDown(member)) }
        roster.remove(at: index)
    }

    // MARK: Hints for routing

    package mutating func connectionRefused(by peer: NodeID) {
        guard let index = roster.index(of: peer) else { return }
        roster.peers[index].isRefused = true
    }

    package mutating func connected(to peer: NodeID) {
        guard let index = roster.index(of: peer) else { return }
        roster.peers[index].isRefused = false
    }
}
