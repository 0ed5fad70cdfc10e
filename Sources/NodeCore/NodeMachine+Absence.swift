import Core
import Gossip
import Replication
import Ring
import Storage

/// Members that have been away for long.
struct AbsenceState {
    /// In the log.
    var register: AbsenceRegister
    /// The record of the last decision: it is told when it is on disk.
    var decidedAt = LSN.zero
    var awaySince: [NodeID: Instant] = [:]
    /// A decision that this node proposes.
    var round: AbsenceRound?
    var lastBallot: UInt32 = 0
    var nextAt: Instant

    init(_ register: AbsenceRegister, now: Instant) {
        self.register = register
        nextAt = now
    }
}

/// A proposer of one decision.
struct AbsenceRound {
    var number: UInt64
    var ballot: Ballot
    var away: [NodeID]
    var startedAt: Instant
    var promised: Set<NodeID> = []
    /// Of those that promised, what was accepted last.
    var found: AbsenceRegister.Proposal?
    /// What is proposed, once a majority promised.
    var proposal: AbsenceRegister.Proposal?
    var accepted: Set<NodeID> = []
}

// Segments close without a member that is away for long (docs/decisions/0025-long-absence.md). A
// majority of all members decides, durably, that its life is over: what it comes back with has no
// vote before it has taken over what the others decided without it.

extension NodeMachine {
    // MARK: - Who is left out

    /// Its life is over, and it has not begun another one yet.
    func isLeftOut(_ peer: NodeID) -> Bool {
        absence.register.decided.leftOut.contains { isInForce($0) && $0.node == peer }
    }

    private func isInForce(_ successor: Vote.Successor) -> Bool {
        successor.incarnation > memory[successor.node]?.incarnation ?? .none
    }

    /// Those of whom this node's disk says so.
    var leftOut: [Vote.Successor] {
        guard absence.decidedAt <= synced else { return [] }
        return absence.register.decided.leftOut.filter { isInForce($0) }
    }

    /// What is known of a node's lives: where it is left out, of the one that must come.
    func remembered(of peer: NodeID) -> Standing {
        let known = memory[peer] ?? .none
        let next = absence.register.decided.leftOut.first { $0.node == peer && isInForce($0) }
        return next.map { Standing(incarnation: $0.incarnation) } ?? known
    }

    /// In each partition of the ring those that stay can bind, and hold whatever was acknowledged.
    func canDecide(without out: Set<NodeID>) -> Bool {
        ring.partitioning.all.allSatisfy { partition in
            let voters = ring.replicas(of: partition)
            let quorum = Consistency.quorum.required(of: voters.count)
            let needed = max(quorum, Self.sourcesNeeded(of: voters.count))
            return voters.count { !out.contains($0) } >= needed
        }
    }

    /// Of all members.
    var majority: Int { Consistency.quorum.required(of: peers.count + 1) }

    /// So many others that one of them belongs to any majority without this node.
    var registersNeeded: Int { min(peers.count, Self.sourcesNeeded(of: peers.count + 1)) }

    // MARK: - Proposing

    mutating func advanceAbsence(_ now: Now, into effects: inout [Effect]) {
        guard configuration.absenceMax != nil, now.monotonic >= absence.nextAt else { return }
        absence.nextAt = now.monotonic + configuration.closeInterval
        for peer in peers {
            if isReachable(peer) {
                absence.awaySince[peer] = nil
            } else if absence.awaySince[peer] == nil {
                absence.awaySince[peer] = now.monotonic
            }
        }
        if let round = absence.round {
            guard now.monotonic >= round.startedAt + ReplicationLimits.absenceRoundMax else {
                return
            }
            absence.round = nil
        }
        var away: [NodeID] = []
        for peer in peers where isAway(peer, now) && !isLeftOut(peer) { away.append(peer) }
        guard isVoting, mayLeaveOut(away) else { return }
        if let pending = absence.register.accepted {
            // It may be decided already, and would have to be proposed whenever somebody else is
            // away: better now, while all that is needed to recover is there.
            if mayLeaveOut(pending.leftOut.map(\.node)) { propose([], now, into: &effects) }
            return
        }
        guard !away.isEmpty else { return }
        if has(.leavesOutAlone) {
            let number = absence.register.decided.number + 1
            learn(
                AbsenceDecision(number: number, leftOut: successors(away)), now, into: &effects)
            return
        }
        guard isTurn(away, now) else { return }
        propose(away, now, into: &effects)
    }

    /// One after the other, so that they do not outbid each other. The first may know of earlier
    /// lives only, and its decision be in force nowhere else.
    private func isTurn(_ away: [NodeID], _ now: Now) -> Bool {
        var rank = 0
        for peer in peers where peer < configuration.node && isReachable(peer) { rank += 1 }
        let wait = ReplicationLimits.absenceRoundMax * 2 * rank
        return away.allSatisfy { isAway($0, Now(monotonic: now.monotonic - wait, wall: now.wall)) }
    }

    private func isAway(_ peer: NodeID, _ now: Now) -> Bool {
        guard let limit = configuration.absenceMax, let since = absence.awaySince[peer] else {
            return false
        }
        return !isReachable(peer) && now.monotonic >= since + limit
    }

    /// Who recovers needs what others hold: nobody else may have to recover then.
    private func mayLeaveOut(_ nodes: [NodeID]) -> Bool {
        let without = peers.filter { peer in
            isLeftOut(peer) || isBeginning(peer) || gossip.state(of: peer)?.status != .normal
        }
        return canDecide(without: Set(nodes).union(without))
    }

    /// It fenced an earlier life and has not spoken as a voter since: gossip may not know it yet.
    private func isBeginning(_ peer: NodeID) -> Bool {
        guard let known = memory[peer] else { return false }
        return known.run == 0 && known.incarnation > Incarnation(1)
    }

    /// Those that vote beside these in some partition, and stay. What is heard of one may be from
    /// before its disk was lost, and then it needs those that are away: so each has to promise,
    /// which only a voter does. Without one of them nothing could be closed anyway.
    private func partners(of nodes: Set<NodeID>) -> Set<NodeID> {
        var partners: Set<NodeID> = []
        for partition in ring.partitioning.all {
            let voters = ring.replicas(of: partition)
            guard voters.contains(where: nodes.contains) else { continue }
            partners.formUnion(voters.filter { !nodes.contains($0) && !isLeftOut($0) })
        }
        return partners
    }

    /// With those who are out already.
    private func successors(_ away: [NodeID]) -> [Vote.Successor] {
        peers.filter { away.contains($0) || isLeftOut($0) }.map { peer in
            let told = gossip.state(of: peer)?.text(.incarnation).flatMap { UInt32($0) }
            // Its first life it may have told nobody: it begins when all are there, and may be gone
            // before they remember it.
            let known = max(
                memory[peer]?.incarnation ?? .none, Incarnation(told ?? 0), Incarnation(1))
            let next = isLeftOut(peer) ? remembered(of: peer).incarnation : known.next
            return Vote.Successor(node: peer, incarnation: next)
        }
    }

    private mutating func propose(
        _ away: [NodeID], _ now: Now, into effects: inout [Effect]
    ) {
        let highest = max(absence.lastBallot, absence.register.promised?.number ?? 0)
        absence.lastBallot = highest + 1
        let round = AbsenceRound(
            number: absence.register.decided.number + 1,
            ballot: Ballot(number: highest + 1, node: configuration.node), away: away,
            startedAt: now.monotonic)
        absence.round = round
        sendToAll(.prepare(round.number, round.ballot, away: away), into: &effects)
    }

    private mutating func sendToAll(_ message: AbsenceMessage, into effects: inout [Effect]) {
        for member in configuration.members where isReachable(member.node) {
            send(.absence(message), to: member.node, into: &effects)
        }
    }

    // MARK: - Messages

    mutating func receive(
        _ message: AbsenceMessage, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        switch message {
        case .prepare(let number, let ballot, let away):
            guard isAbreast(of: number, peer, into: &effects),
                absence.register.accepted != nil
                    || away.allSatisfy({ isAway($0, now) || isLeftOut($0) }),
                absence.register.promise(ballot, of: number)
            else { return }
            keepRegister(into: &effects)
            answerWhenDurable(
                .promise(number, ballot, absence.register.accepted), to: peer, into: &effects)
        case .promise(let number, let ballot, let found):
            guard var round = absence.round, round.number == number, round.ballot == ballot,
                round.proposal == nil
            else { return }
            round.promised.insert(peer)
            if let found, round.found.map({ $0.ballot < found.ballot }) ?? true {
                round.found = found
            }
            absence.round = round
            let away = round.found?.leftOut.map(\.node) ?? round.away
            guard round.promised.count >= majority,
                partners(of: Set(away)).isSubset(of: round.promised)
            else { return }
            proposeValue(now, into: &effects)
        case .accept(let number, let proposal):
            guard isAbreast(of: number, peer, into: &effects),
                mayLeaveOut(proposal.leftOut.map(\.node)),
                absence.register.accept(proposal, of: number)
            else { return }
            keepRegister(into: &effects)
            answerWhenDurable(.accepted(number, proposal.ballot), to: peer, into: &effects)
        case .accepted(let number, let ballot):
            guard absence.round?.number == number, absence.round?.ballot == ballot else { return }
            absence.round?.accepted.insert(peer)
            guard let round = absence.round, let proposal = round.proposal,
                round.accepted.count >= majority
            else { return }
            absence.round = nil
            let decision = AbsenceDecision(number: number, leftOut: proposal.leftOut)
            learn(decision, now, into: &effects)
            sendToAll(.decided(decision), into: &effects)
        case .decided(let decision):
            learn(decision, now, into: &effects)
        }
    }

    /// Who does not vote promises nothing, and who asks for what is decided is told.
    private mutating func isAbreast(
        of number: UInt64, _ peer: NodeID, into effects: inout [Effect]
    ) -> Bool {
        if number <= absence.register.decided.number { tellDecision(to: peer, into: &effects) }
        return isVoting && number == absence.register.decided.number + 1
    }

    mutating func tellDecision(to peer: NodeID, into effects: inout [Effect]) {
        let decided = absence.register.decided
        guard decided.number > 0, absence.decidedAt <= synced else { return }
        send(.absence(.decided(decided)), to: peer, into: &effects)
    }

    /// A majority promised: what one of them accepted may be decided already.
    private mutating func proposeValue(_ now: Now, into effects: inout [Effect]) {
        guard var round = absence.round else { return }
        let leftOut: [Vote.Successor]
        if let found = round.found {
            leftOut = found.leftOut
        } else {
            guard !round.away.isEmpty, round.away.allSatisfy({ isAway($0, now) }),
                mayLeaveOut(round.away)
            else {
                absence.round = nil
                return
            }
            leftOut = successors(round.away)
        }
        let proposal = AbsenceRegister.Proposal(ballot: round.ballot, leftOut: leftOut)
        round.proposal = proposal
        absence.round = round
        sendToAll(.accept(round.number, proposal), into: &effects)
    }

    // MARK: - Keeping

    private mutating func keepRegister(into effects: inout [Effect]) {
        appendSynced(.absence, absence.register.encoded, into: &effects)
    }

    private mutating func answerWhenDurable(
        _ message: AbsenceMessage, to peer: NodeID, into effects: inout [Effect]
    ) {
        waiters.append(.absence(log.last, message, to: peer))
    }

    private mutating func learn(
        _ decision: AbsenceDecision, _ now: Now, into effects: inout [Effect]
    ) {
        guard absence.register.learn(decision) else { return }
        absence.round = nil
        absence.decidedAt = log.last.next
        keepRegister(into: &effects)
        closing.round = nil
        nameSuperseded()
        for successor in decision.leftOut where isInForce(successor) {
            if successor.node == configuration.node {
                hearOwnEnd(successor.incarnation, now, into: &effects)
            } else {
                effects.append(.report(.leftOut(successor.node, successor.incarnation)))
                lose(successor.node, now, into: &effects)
            }
        }
    }

    /// What others know of the decisions: a node that recovers may have lost what it promised.
    mutating func merge(_ register: AbsenceRegister, into effects: inout [Effect]) {
        let before = absence.register
        absence.register.merge(register)
        guard absence.register != before else { return }
        if absence.register.decided != before.decided { absence.decidedAt = log.last.next }
        keepRegister(into: &effects)
        nameSuperseded()
    }

    // MARK: - Coming back

    /// A peer speaks for a life that is over, and does not know it.
    mutating func accuse(
        _ peer: NodeID, showing standing: Standing, into effects: inout [Effect]
    ) -> Bool {
        let known = remembered(of: peer)
        guard known.incarnation > standing.incarnation else { return false }
        let reply = HelloReply(
            tag: newTag(), incarnation: identity.incarnation, remembers: known)
        send(.helloReply(reply), to: peer, into: &effects)
        return true
    }

    /// What a recovering node alone holds of segments that its sources have frozen: they may have
    /// closed them without it. Nobody can have bound it, else a source would have listed it. It
    /// need not be in doubt: where a life ended in a running process, nothing was read from a log.
    mutating func giveUpUnlisted(
        _ recovery: RecoveryProgress, into effects: inout [Effect]
    ) {
        let unlisted = index.unsettledIDs.filter { id in
            guard let entry = index[id] else { return false }
            return !entry.isBound && isFrozen(entry.header) && !recovery.listed.contains(id)
        }
        // What is not on disk yet was never acknowledged.
        keepAside(unlisted.filter { index[$0]?.record?.isDurable == true }, into: &effects)
        for id in unlisted {
            guard let header = index[id]?.header else { continue }
            drop(header, into: &effects)
            effects.append(.report(.gaveUp(id)))
        }
    }

    /// Nothing that was taken is dropped silently: who wants to know finds its bytes.
    mutating func keepAside(_ ids: [BatchID], into effects: inout [Effect]) {
        let positions = ids.compactMap { index[$0]?.record?.position }
        if !positions.isEmpty { run(.keepAside(positions), .keeping, into: &effects) }
    }
}
