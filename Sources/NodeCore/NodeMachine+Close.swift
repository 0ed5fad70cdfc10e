import Core
import Gossip
import Replication
import Ring
import Storage

/// Segments on their way: open, frozen, closed, sealed (docs/decisions/0007-closing.md).
struct ClosingState {
    /// Nothing new is taken below; in force from the moment its record is appended.
    var frozen: Segment
    /// What is on disk, and may be told.
    var durable: Watermarks
    /// Appended, on their way to disk.
    var pending: Watermarks
    /// The peers that agreed to the last of each.
    var closedWith: [NodeID] = []
    var sealedWith: [NodeID] = []
    /// Every home of the cluster has closed what lies below.
    var frontier = Segment.first
    var round: CloseRound?
    /// How far each peer was frozen when it last spoke of it: what the next round may ask for.
    var peersFrozen: [NodeID: Segment] = [:]
    var nextAt: Instant
    /// Where the freeze stood, and when: it never runs faster than clocks can.
    var anchor: (at: Instant, frozen: Segment)
    /// Partitions that this node shares with each peer that has any of them.
    let shared: [NodeID: PartitionSet]

    init(_ marks: Watermarks, shared: [NodeID: PartitionSet], now: Instant) {
        frozen = marks.frozen
        durable = marks
        pending = marks
        nextAt = now
        anchor = (at: now, frozen: marks.frozen)
        self.shared = shared
    }
}

/// One comparison with all peers that share a partition with this node.
struct CloseRound {
    var tag: Tag
    var closeBelow: Segment
    var sealBelow: Segment
    /// What payloads wait for.
    var heldBelow: Segment?
    var startedAt: Instant
    var replies: [NodeID: CloseReply] = [:]
}

// Deciding the past: which batches of a segment count, and that all replicas hold them.

extension NodeMachine {
    /// A batch may be admitted at the very edge of the horizon, by the slowest clock, and take its
    /// whole deadline.
    private var freezeAge: Duration {
        configuration.horizon + configuration.requestTimeout + configuration.clockSkewMax * 2
    }

    func segment(of header: BatchHeader) -> Segment {
        index.segment(of: header)
    }

    func isFrozen(_ header: BatchHeader) -> Bool {
        segment(of: header) < closing.frozen
    }

    /// False where the time is not known.
    func isClosed(_ createdAt: WallTime?) -> Bool {
        guard let createdAt else { return false }
        let segment = Segment(createdAt: createdAt, length: configuration.segmentLength)
        // Outcomes older than that may have been dropped: who is not found may have counted.
        return segment < closing.durable.closed && segment >= index.base.outcomesFrom
    }

    /// Whether outcomes of that time are kept no more: who is not found then stays unknown. nil
    /// where the time is not known.
    func isForgotten(_ createdAt: WallTime?) -> Bool? {
        createdAt.map {
            Segment(createdAt: $0, length: configuration.segmentLength) < index.base.outcomesFrom
        }
    }

    /// Batches that were sealed before this are decided everywhere.
    var frontierTime: WallTime? {
        guard closing.frontier > .first else { return nil }
        return closing.frontier.start(length: configuration.segmentLength)
    }

    mutating func advanceClosing(_ now: Now, into effects: inout [Effect]) {
        guard isVoting, now.monotonic >= closing.nextAt else { return }
        closing.nextAt = now.monotonic + configuration.closeInterval
        freeze(now, into: &effects)
        raiseFrontier()
        beginRound(now, into: &effects)
    }

    // MARK: - Freezing

    private mutating func freeze(_ now: Now, into effects: inout [Effect]) {
        guard mayFreeze(now) else { return }
        var target = Segment(
            createdAt: now.wall - freezeAge, length: configuration.segmentLength)
        if closing.frozen > .first {
            // A clock that jumps for a minute must not close the door to what is new.
            let elapsed = (now.monotonic - closing.anchor.at).milliseconds
            let steps =
                elapsed / configuration.segmentLength.milliseconds
                * ReplicationLimits.freezeSpeedMax
            let limit = closing.anchor.frozen.number.addingReportingOverflow(steps + 1)
            if !limit.overflow { target = min(target, Segment(limit.partialValue)) }
        }
        raiseFreeze(to: target, now, into: &effects)
    }

    /// From now on nothing new is taken below `target`; told when it is on disk.
    mutating func raiseFreeze(
        to target: Segment, _ now: Now, into effects: inout [Effect]
    ) {
        guard target > closing.frozen else { return }
        if closing.frozen == .first { closing.anchor = (at: now.monotonic, frozen: target) }
        closing.frozen = target
        if has(.freezeNotDurable) {
            closing.durable.frozen = target
            return
        }
        closing.pending.frozen = target
        write(.frozen, SegmentMark(below: target), into: &effects)
    }

    private mutating func write(
        _ kind: LogKind, _ mark: SegmentMark, into effects: inout [Effect]
    ) {
        let append = appendSynced(kind, mark.encoded, into: &effects)
        waiters.append(.marked(append.lsn, kind, below: mark.below))
    }

    /// A mark is on disk: it holds.
    mutating func marked(
        _ kind: LogKind, _ below: Segment, _ now: Now, into effects: inout [Effect]
    ) {
        switch kind {
        case .frozen:
            closing.durable.frozen = max(closing.durable.frozen, below)
            voteIfRemembered(into: &effects)
        case .closed:
            closing.durable.closed = max(closing.durable.closed, below)
            index.raiseFloors(closing.durable)
            announceClosed()
            effects.append(.report(.closed(below: below, with: closing.closedWith)))
        case .sealed:
            closing.durable.sealed = max(closing.durable.sealed, below)
            index.raiseFloors(closing.durable)
            effects.append(.report(.sealed(below: below, with: closing.sealedWith)))
        case .home, .slices, .applied, .progress, .peer, .dropped, .run, .state, .absence:
            preconditionFailure("\(kind) marks no segment")
        }
    }

    func announcedSegment(of peer: NodeID) -> Segment {
        let text = gossip.state(of: peer)?.text(.frontier)
        return text.flatMap { Int64($0) }.map { Segment($0) } ?? .first
    }

    mutating func announceClosed() {
        guard closing.durable.closed > .first else { return }
        gossip.set(.frontier, "\(closing.durable.closed.number)")
    }

    /// The least of what all members say they closed, those that are down with their last word. A
    /// node that lost its disk starts over; what was closed once stays closed.
    private mutating func raiseFrontier() {
        let out = absentees
        var closed = peers.filter { !out.contains($0) }.map { announcedSegment(of: $0) }
        closed.append(closing.durable.closed)
        closed.sort()
        let least = closed[has(.sealWithFewer) && closed.count > 1 ? 1 : 0]
        closing.frontier = max(closing.frontier, least)
    }

    // MARK: - Asking

    private mutating func beginRound(_ now: Now, into effects: inout [Effect]) {
        if let round = closing.round {
            guard now.monotonic >= round.startedAt + ReplicationLimits.closeRoundMax else { return }
            closing.round = nil
        }
        let out = absentees
        let sharers = closing.shared.keys.filter { !out.contains($0) }.sorted()
        var absent = 0
        for peer in sharers where !isReachable(peer) { absent += 1 }
        guard absent <= absentMax else { return }
        var frozen = [closing.durable.frozen]
        for peer in sharers { frozen.append(closing.peersFrozen[peer] ?? .first) }
        frozen.sort()
        let closeBelow = frozen[min(absentMax, frozen.count - 1)]
        guard
            closing.durable.frozen > closing.durable.closed
                || closing.frontier > closing.durable.sealed || releaseBelow != nil
        else { return }
        let tag = newTag()
        closing.round = CloseRound(
            tag: tag, closeBelow: closeBelow, sealBelow: closing.frontier,
            heldBelow: releaseBelow, startedAt: now.monotonic)
        let ask = CloseAsk(
            tag: tag, closeBelow: closeBelow, sealBelow: closing.frontier,
            decided: absence.register.decided.number, heldBelow: releaseBelow)
        for peer in sharers { send(.closeAsk(ask), to: peer, into: &effects) }
        finishRound(into: &effects)
    }

    mutating func answerClose(
        _ ask: CloseAsk, to peer: NodeID, into effects: inout [Effect]
    ) {
        guard let shared = closing.shared[peer] else { return }
        if ask.decided < absence.register.decided.number {
            tellDecision(to: peer, into: &effects)
        }
        let reply = CloseReply(
            tag: ask.tag, vote: vote, frozen: closing.durable.frozen,
            isReady: index.isReady(below: ask.closeBelow), isSettled: doubt.isEmpty,
            homes: homeSum(of: shared, below: ask.closeBelow),
            applied: appliedSum(of: shared, below: ask.sealBelow),
            held: ask.heldBelow.flatMap { index.digests.heldSum(of: shared, below: $0) },
            leftOut: leftOut)
        send(.closeReply(reply), to: peer, into: &effects)
    }

    /// nil below what is forgotten: there is no telling any more.
    private func homeSum(of partitions: PartitionSet, below end: Segment) -> SetDigest? {
        guard index.digests.floor(of: partitions) <= end else { return nil }
        return index.digests.homeSum(of: partitions, below: end)
    }

    private func appliedSum(of partitions: PartitionSet, below end: Segment) -> SetDigest? {
        guard index.digests.floor(of: partitions) <= end else { return nil }
        return index.digests.appliedSum(of: partitions, below: end)
    }

    mutating func receive(
        _ reply: CloseReply, from peer: NodeID, into effects: inout [Effect]
    ) {
        guard closing.shared[peer] != nil, closing.round?.tag == reply.tag else { return }
        closing.peersFrozen[peer] = reply.frozen
        noteProof(reply, of: peer)
        closing.round?.replies[peer] = reply
        finishRound(into: &effects)
    }

    /// What a peer said in an earlier life, or over a connection that is gone, counts no more.
    mutating func forgetRound(with peer: NodeID) {
        guard closing.shared[peer] != nil else { return }
        closing.round = nil
        closing.peersFrozen[peer] = nil
        forgetProof(of: peer)
    }

    // MARK: - Deciding

    /// Those without whom this node decides.
    var absentees: Set<NodeID> {
        let out = Set(leftOut.map(\.node))
        return out.isEmpty || !canDecide(without: out) ? [] : out
    }

    /// All must agree; the mutant goes on without one.
    private var absentMax: Int { has(.sealWithFewer) ? 1 : 0 }

    private mutating func finishRound(into effects: inout [Effect]) {
        guard let round = closing.round else { return }
        let out = absentees
        let missing = closing.shared.keys.count { round.replies[$0] == nil && !out.contains($0) }
        guard missing <= absentMax else { return }
        closing.round = nil
        guard isVoting else { return }
        let without = leftOut.filter { out.contains($0.node) && closing.shared[$0.node] != nil }
        let shared = closing.shared
        var canClose = round.closeBelow > closing.pending.closed && doubt.isEmpty
        var canSeal = round.sealBelow > closing.pending.sealed && doubt.isEmpty
        var agreed: [NodeID] = []
        for (peer, reply) in round.replies.sorted(by: { $0.key < $1.key }) {
            guard let partitions = shared[peer], !out.contains(peer) else { continue }
            if !reply.vote.isVoting, has(.sealWithoutRecovering) { continue }
            agreed.append(peer)
            let agrees =
                reply.vote.isVoting && reply.isSettled
                && (has(.leavesOutAlone) || without.allSatisfy(reply.leftOut.contains))
                && !endsOwnLife(reply.vote)
            let homes = homeSum(of: partitions, below: round.closeBelow)
            let applied = appliedSum(of: partitions, below: round.sealBelow)
            canClose =
                canClose && agrees && reply.isReady && reply.frozen >= round.closeBelow
                && homes != nil && reply.homes == homes
            canSeal = canSeal && agrees && applied != nil && reply.applied == applied
        }
        // A node without peers has only itself to ask.
        canClose = canClose && homeSum(of: mine, below: round.closeBelow) != nil
        canSeal = canSeal && appliedSum(of: mine, below: round.sealBelow) != nil
        if canClose, index.isReady(below: round.closeBelow) {
            closing.pending.closed = round.closeBelow
            closing.closedWith = agreed
            let digest = index.digests.homeSum(of: mine, below: round.closeBelow)
            write(.closed, SegmentMark(below: round.closeBelow, digest: digest), into: &effects)
        }
        if canSeal {
            closing.pending.sealed = round.sealBelow
            closing.sealedWith = agreed
            let digest = index.digests.appliedSum(of: mine, below: round.sealBelow)
            write(.sealed, SegmentMark(below: round.sealBelow, digest: digest), into: &effects)
        }
    }

    /// Others have decided without this node, which does not know it yet.
    private func endsOwnLife(_ vote: Vote) -> Bool {
        vote.superseded.contains {
            $0.node == configuration.node && $0.incarnation > identity.incarnation
        }
    }

    // MARK: - What a closed segment refuses

    /// A new id for a segment that is frozen here. It is taken only from another home voter's disk,
    /// and asked for there, since what is on the way may be the word of a disk that is lost by now.
    mutating func receiveFrozen(
        _ bind: Bind, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        if isVoting, isClosed(bind.header.createdAt) {
            answerBind(bind.tag, .closed, to: peer, into: &effects)
            return
        }
        let home = ring.replicas(of: bind.home)
        guard bind.isAdmitted || bind.isBound, peer != configuration.node, home.contains(peer)
        else {
            answerBind(bind.tag, .tooOld, to: peer, into: &effects)
            return
        }
        let need = SyncNeed(
            header: bind.header, home: bind.home, wantsRecord: true, partitions: PartitionSet(),
            isBound: bind.isBound)
        beginFetch([need], from: peer, for: newTag(), now, into: &effects)
    }

    /// A home record that no majority held when its segment closed.
    mutating func drop(_ header: BatchHeader, into effects: inout [Effect]) {
        guard let entry = index[header.id], entry.header == header else { return }
        effects.append(.report(.dropped(header.id, isBound: entry.isBound)))
        guard !entry.isBound, entry.applied.isEmpty else { return }
        let mark = ProgressMark(
            id: header.id, contentHash: header.contentHash, isFinished: false)
        effects.append(
            .append(log.append(kind: LogKind.dropped.rawValue, payload: mark.encoded)))
        index.drop(header.id)
        pending.remove(header.id)
        applies[header.id] = nil
        drives.finish(header.id)
        settle(dropped: header.id, into: &effects)
    }
}
