import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// When a node votes. An acknowledgement is worth what the voter's disk remembers, so a node whose
/// disk may have lost something takes writes but has no vote until it holds the union of the
/// others.
enum Life {
    /// Asks the peers what they remember of this node. Next: `voting` (a disk that has all that is
    /// remembered), or `promoting` (all are new), or `recovering` (a peer remembers more than the
    /// disk holds).
    case asking(since: Instant, heard: [NodeID: HelloReply])
    /// Takes writes, pulls from all. Next: `promoting`.
    case recovering(RecoveryProgress)
    /// The incarnation is stored here, then remembered by `awaiting`, before it votes. Next:
    /// `voting`.
    case promoting(Incarnation, awaiting: Set<NodeID>, isStored: Bool, Tag)
    /// Next: `recovering`, when a peer that comes back remembers more.
    case voting
}

/// A disk on its way back: fence, copy, begin a new life.
struct RecoveryProgress {
    /// The life that begins when it is done.
    var target: Incarnation
    /// Names the fences of this target.
    var tag: Tag
    /// Peers that remember, durably, that everything before `target` is superseded. What they
    /// answer from then on says so; so nothing that an earlier life still has on the way counts
    /// together with an answer of theirs that this node's copy does not contain.
    var fencedBy: Set<NodeID> = []
    /// Fenced peers that have given all that they held.
    var sources: Set<NodeID> = []
    /// What is undecided here, or not here yet, and a source holds.
    var listed: Set<BatchID> = []
    /// The copy is whole, and this is the last record of it. The new life begins in the manifest,
    /// which a crash keeps, and stands for all that: it must be on disk before.
    var promoteAfter: LSN?
}

extension NodeMachine {
    var isVoting: Bool {
        if case .voting = life { true } else { false }
    }

    var isRecovering: Bool {
        if case .recovering = life { true } else { false }
    }

    /// A node that does not know whether it is new or wiped takes nothing from anybody.
    var canLearn: Bool {
        switch life {
        case .asking: identity.incarnation > .none && !identity.mustRecover
        case .recovering: false
        case .promoting, .voting: true
        }
    }

    /// How long a node with data waits for the word of peers that it cannot reach yet.
    private static let askFor: Duration = .seconds(1)
    static let repeatAfter: Duration = .milliseconds(300)

    mutating func announce() {
        guard let member = configuration.members.first(where: { $0.node == configuration.node })
        else { preconditionFailure("\(configuration.node) is no member of its own cluster") }
        gossip.set(.http, member.http)
        gossip.set(.peer, member.peer)
        gossip.set(.datacenter, member.dc)
        gossip.set(.rack, member.rack)
        gossip.set(.hostID, UUIDText.format(identity.hostID))
        gossip.set(.release, Release.version)
        gossip.set(.epoch, "\(ring.epoch)")
        announceClosed()
        announceLife()
    }

    private mutating func announceLife() {
        gossip.set(.incarnation, "\(identity.incarnation.number)")
        gossip.set(isVoting ? .normal : isRecovering ? .recovering : .joining)
    }

    // MARK: - Asking

    mutating func greet(_ peer: NodeID, _ now: Now, into effects: inout [Effect]) {
        send(
            .hello(Hello(tag: newTag(), incarnation: identity.incarnation)), to: peer,
            into: &effects)
    }

    mutating func receive(
        _ hello: Hello, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        let reply = HelloReply(
            tag: hello.tag, incarnation: identity.incarnation, remembers: remembered(of: peer))
        send(.helloReply(reply), to: peer, into: &effects)
        tellDecision(to: peer, into: &effects)
    }

    mutating func receive(
        _ reply: HelloReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard peers.contains(peer) else { return }
        switch life {
        case .asking(let since, var heard):
            heard[peer] = reply
            life = .asking(since: since, heard: heard)
            settleLife(now, into: &effects)
        case .voting, .promoting:
            if let why = contradiction(to: reply.remembers, of: peer) {
                recover(why, reply.remembers.incarnation, now, into: &effects)
            } else {
                met(peer, reply)
            }
        case .recovering(var recovery):
            let remembered = reply.remembers.incarnation
            guard remembered >= recovery.target, !recovery.fencedBy.contains(peer) else { return }
            // There was another life before, of which nobody had told yet: the fences do not cover
            // it, nor do the copies that were made behind them.
            recovery = RecoveryProgress(target: remembered.next, tag: newTag())
            life = .recovering(recovery)
            endSyncs(now, into: &effects) { $0.purpose == .recovery }
        }
    }

    /// Decides what an asking node is, as soon as enough has been heard.
    mutating func settleLife(_ now: Now, into effects: inout [Effect]) {
        guard case .asking(let since, let heard) = life else { return }
        for (peer, reply) in heard.sorted(by: { $0.key < $1.key }) {
            guard let why = contradiction(to: reply.remembers, of: peer) else { continue }
            // The greatest is the same in whatever order the replies are looked at.
            let remembered = heard.values.map(\.remembers.incarnation).max() ?? .none
            recover(why, remembered, now, into: &effects)
            return
        }
        let isComplete = heard.count == peers.count
        if identity.mustRecover {
            guard isComplete || !heard.isEmpty else { return }
            let remembered = heard.values.map(\.remembers.incarnation).max() ?? .none
            recover("its disk lost data before", remembered, now, into: &effects)
        } else if identity.incarnation > .none {
            // Alone, a disk that was set back would not be recognised.
            let isLate = now.monotonic >= since + Self.askFor
            let isLost = configuration.acceptsLoss && now.monotonic >= since + Self.acceptAfter
            guard isComplete || isLate && !heard.isEmpty || isLost else { return }
            for peer in peers {
                if let reply = heard[peer] {
                    met(peer, reply)
                } else {
                    lives.strangers.insert(peer)
                }
            }
            goOn(now, into: &effects)
        } else if isComplete {
            lives.met.formUnion(peers)
            promote(Incarnation(1), awaiting: Set(peers), now, into: &effects)
        } else if configuration.acceptsLoss, now.monotonic >= since + Self.acceptAfter {
            acceptLoss(now, into: &effects)
        }
    }

    /// A restart. A life that ended before its promotion was complete is promoted again: else it
    /// could be lost with its disk, and nobody would know that there was one.
    private mutating func goOn(_ now: Now, into effects: inout [Effect]) {
        let incarnation = identity.incarnation
        if memory[configuration.node]?.incarnation == incarnation || peers.isEmpty {
            vote(into: &effects)
        } else {
            life = .promoting(
                incarnation, awaiting: lives.strangers, isStored: true, newTag())
            lives.repeatAt = now.monotonic
            voteIfRemembered(into: &effects)
        }
    }

    mutating func advanceLife(_ now: Now, into effects: inout [Effect]) {
        switch life {
        case .asking(_, let heard):
            settleLife(now, into: &effects)
            guard case .asking = life, isTimeToRepeat(now) else { return }
            for peer in peers where heard[peer] == nil { greet(peer, now, into: &effects) }
        case .recovering(let recovery):
            guard isTimeToRepeat(now), !acceptLossInTime(recovery, now, into: &effects),
                !copying.isReceiving
            else { return }
            advanceRecovery(recovery, now, into: &effects)
        case .promoting(let incarnation, let awaiting, isStored: true, let tag):
            guard isTimeToRepeat(now) else { return }
            for peer in awaiting.sorted() {
                send(.remember(tag, incarnation), to: peer, into: &effects)
            }
        case .voting:
            vouch(now, into: &effects)
            guard !lives.strangers.isEmpty || lives.met.count < peers.count, isTimeToRepeat(now)
            else { return }
            for peer in peers where isReachable(peer) {
                // What it remembers is compared first: being told anew would hide it.
                if !lives.met.contains(peer) {
                    greet(peer, now, into: &effects)
                } else if lives.strangers.contains(peer) {
                    send(
                        .remember(lives.strangersTag, identity.incarnation), to: peer,
                        into: &effects)
                }
            }
        case .promoting:
            break
        }
    }

    private mutating func isTimeToRepeat(_ now: Now) -> Bool {
        guard now.monotonic >= lives.repeatAt else { return false }
        lives.repeatAt = now.monotonic + Self.repeatAfter
        return true
    }

    // MARK: - Recovering

    /// The others decided that its life is over.
    mutating func hearOwnEnd(
        _ next: Incarnation, _ now: Now, into effects: inout [Effect]
    ) {
        guard next > identity.incarnation, !isRecovering else { return }
        recover("it was away for so long that the others left it out", next, now, into: &effects)
    }

    private mutating func recover(
        _ why: String, _ remembered: Incarnation, _ now: Now, into effects: inout [Effect]
    ) {
        let highest = max(identity.incarnation, remembered)
        life = .recovering(
            RecoveryProgress(target: highest.next, tag: newTag()))
        lives.recoversSince = now.monotonic
        lives.repeatAt = now.monotonic
        effects.append(.report(.recovering(why)))
        announceLife()
        guard !identity.mustRecover else { return }
        // Durable: other peers than those that contradicted may be met after a restart.
        identity.mustRecover = true
        run(.commit(ManifestEdit(identity: identity)), .demotion, into: &effects)
    }

    /// First the fence, then the copy.
    private mutating func advanceRecovery(
        _ recovery: RecoveryProgress, _ now: Now, into effects: inout [Effect]
    ) {
        let busy = Set(syncs.values.filter { $0.purpose == .recovery }.map(\.peer))
        for peer in peers where isReachable(peer) && !recovery.sources.contains(peer) {
            guard recovery.fencedBy.contains(peer) || has(.supersededCounts) else {
                send(.remember(recovery.tag, recovery.target), to: peer, into: &effects)
                continue
            }
            let shared = ring.partitions(of: peer).intersection(mine)
            // Who may be a source, enough of them must have told; unless no more will come.
            let isEager =
                has(.supersededCounts) || has(.copyFromOne) || isLossAccepted(now)
            guard recovery.fencedBy.count >= registersNeeded || isEager, !isLeftOut(peer)
            else { continue }
            guard !shared.isEmpty, !busy.contains(peer) else { continue }
            beginSync(with: peer, mine, .recovery, now, into: &effects)
        }
    }

    private func isLossAccepted(_ now: Now) -> Bool {
        configuration.acceptsLoss && now.monotonic >= lives.recoversSince + Self.acceptAfter
    }

    /// True where an operator's word ends the recovery; not in the middle of a copy, nor while
    /// somebody votes who has not given all that it holds.
    private mutating func acceptLossInTime(
        _ recovery: RecoveryProgress, _ now: Now, into effects: inout [Effect]
    ) -> Bool {
        guard isLossAccepted(now), copying.canBeGivenUp else { return false }
        let isGiverLeft = peers.contains { peer in
            isReachable(peer) && gossip.state(of: peer)?.status == .normal
                && !recovery.sources.contains(peer) && !isLeftOut(peer)
                && !ring.partitions(of: peer).intersection(mine).isEmpty
        }
        guard !isGiverLeft || now.monotonic >= lives.recoversSince + Self.acceptAtLast else {
            return false
        }
        copying.phase = .none
        acceptLoss(now, into: &effects)
        return true
    }

    /// What it held is set aside: no source has given anything yet.
    mutating func restartRecovery() {
        guard case .recovering(var recovery) = life else { return }
        recovery.sources = []
        recovery.promoteAfter = nil
        life = .recovering(recovery)
    }

    /// `peer` has given all that it held: one source of the union.
    mutating func sourceDone(_ peer: NodeID, _ now: Now, into effects: inout [Effect]) {
        guard case .recovering(var recovery) = life else { return }
        recovery.sources.insert(peer)
        life = .recovering(recovery)
        let ring = ring
        let sources = recovery.sources
        let isFromOne = has(.copyFromOne)
        let isWhole = mine.allSatisfy { partition in
            let voters = ring.replicas(of: partition)
            let needed = isFromOne ? 1 : Self.sourcesNeeded(of: voters.count)
            return voters.count(where: sources.contains) >= needed
        }
        guard isWhole else { return }
        giveUpUnlisted(recovery, into: &effects)
        recovery.promoteAfter = log.last
        life = .recovering(recovery)
        effects.append(.sync)
        promoteIfDurable(now, into: &effects)
    }

    mutating func promoteIfDurable(_ now: Now, into effects: inout [Effect]) {
        guard case .recovering(let recovery) = life, let last = recovery.promoteAfter,
            last <= synced, !copying.isReceiving
        else { return }
        promote(
            recovery.target, awaiting: Set(peers).subtracting(recovery.fencedBy), now,
            into: &effects)
    }

    /// Any N - W + 1 of the others contain every acknowledged batch: it was on W voters.
    static func sourcesNeeded(of voters: Int) -> Int {
        voters - Consistency.quorum.required(of: voters) + 1
    }

    /// How long an operator's word waits for sources that may yet come.
    private static let acceptAfter: Duration = .seconds(10)
    /// Even where somebody votes and does not manage to give.
    private static let acceptAtLast: Duration = .seconds(600)

    /// An operator says that no source will come any more: the node goes on with what it has.
    private mutating func acceptLoss(_ now: Now, into effects: inout [Effect]) {
        var target = identity.incarnation.next
        if case .recovering(let recovery) = life { target = recovery.target }
        effects.append(.report(.acceptedLoss(target)))
        lives.acceptedLoss = target
        // Nobody is left who must remember it first.
        promote(target, awaiting: [], now, into: &effects)
    }

    // MARK: - Promoting

    private mutating func promote(
        _ incarnation: Incarnation, awaiting: Set<NodeID>, _ now: Now,
        into effects: inout [Effect]
    ) {
        identity.incarnation = incarnation
        identity.mustRecover = false
        life = .promoting(incarnation, awaiting: awaiting, isStored: false, newTag())
        run(.commit(ManifestEdit(identity: identity)), .promotion, into: &effects)
    }

    mutating func promotionStored(_ now: Now, into effects: inout [Effect]) {
        guard case .promoting(let incarnation, let awaiting, isStored: false, let tag) = life
        else { return }
        life = .promoting(incarnation, awaiting: awaiting, isStored: true, tag)
        lives.repeatAt = now.monotonic
        advanceLife(now, into: &effects)
        voteIfRemembered(into: &effects)
    }

    /// A majority, this node among it, remembers the life: a disk that is wiped later meets one of
    /// them, since an empty directory begins only when all can be reached. The others are told
    /// later.
    mutating func voteIfRemembered(into effects: inout [Effect]) {
        guard case .promoting(_, let awaiting, isStored: true, _) = life else { return }
        // The freeze that it took over is part of what it votes with.
        guard closing.durable.frozen == closing.frozen else { return }
        guard peers.count + 1 - awaiting.count >= majority else { return }
        lives.strangers.formUnion(awaiting)
        vote(into: &effects)
    }

    mutating func receiveRemembered(
        _ tag: Tag, _ register: AbsenceRegister, from peer: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard peers.contains(peer) else { return }
        merge(register, into: &effects)
        if tag == lives.strangersTag { lives.strangers.remove(peer) }
        switch life {
        case .promoting(let incarnation, var awaiting, let isStored, tag):
            awaiting.remove(peer)
            life = .promoting(incarnation, awaiting: awaiting, isStored: isStored, tag)
            voteIfRemembered(into: &effects)
        case .recovering(var recovery) where recovery.tag == tag:
            guard recovery.fencedBy.insert(peer).inserted else { return }
            life = .recovering(recovery)
            lives.repeatAt = now.monotonic
        case .asking, .recovering, .promoting, .voting:
            break
        }
    }

    private mutating func vote(into effects: inout [Effect]) {
        life = .voting
        lives.strangersTag = newTag()
        if memory[configuration.node]?.incarnation != identity.incarnation {
            // A note to itself: the promotion is complete.
            note(
                configuration.node, Standing(incarnation: identity.incarnation), into: &effects)
        }
        effects.append(.report(.voting(incarnation: identity.incarnation)))
        announceLife()
    }

    // MARK: - Doubt

    /// What the log holds without a mark may or may not have been bound: it is settled before this
    /// node votes on reads.
    mutating func findDoubt(_ now: Now, into effects: inout [Effect]) {
        for id in index.unsettledIDs {
            guard let entry = index[id] else { continue }
            // A record that touches nothing here, or nothing at all, still has its dead letters to
            // show.
            let isSettled = isSettled(entry)
            if !isSettled {
                doubt.insert(id)
                if entry.isBound { want(id, mine, reply: nil, now, into: &effects) }
            }
            guard entry.record != nil, !entry.isFinished else { continue }
            let delay = isSettled ? configuration.driveAfter : Self.repeatAfter
            drives.insert(id, at: now.monotonic + delay)
        }
        if !doubt.isEmpty { effects.append(.report(.inDoubt(batches: doubt.count))) }
    }

    /// The doubt of a source that this node recovers from is its own: the batch may have been
    /// counted with the vote that was lost, so it is settled before this node votes on reads. Also
    /// where another source, which holds less of it, knows that it is bound.
    mutating func inheritDoubt(_ id: BatchID, _ now: Now, into effects: inout [Effect]) {
        guard !isVoting, let entry = index[id], entry.record != nil, !isSettled(entry) else {
            return
        }
        doubt.insert(id)
        if entry.isBound { want(id, mine, reply: nil, now, into: &effects) }
    }

    private func isSettled(_ entry: BatchEntry) -> Bool {
        entry.isBound && entry.applied.isSuperset(of: entry.touched.intersection(mine))
    }

    mutating func settleDoubt(_ id: BatchID, into effects: inout [Effect]) {
        guard let entry = index[id], isSettled(entry) else { return }
        settle(dropped: id, into: &effects)
    }

    /// Nothing is left of it that could be in doubt.
    mutating func settle(dropped id: BatchID, into effects: inout [Effect]) {
        guard doubt.remove(id) != nil else { return }
        guard doubt.isEmpty else { return }
        effects.append(.report(.inDoubt(batches: 0)))
    }

    mutating func lose(_ peer: NodeID, _ now: Now, into effects: inout [Effect]) {
        forgetRound(with: peer)
        endSyncs(now, into: &effects) { $0.peer == peer }
    }

    private mutating func endSyncs(
        _ now: Now, into effects: inout [Effect], where isOver: (SyncSession) -> Bool
    ) {
        for tag in syncs.keys.sorted() {
            guard let session = syncs[tag], isOver(session) else { continue }
            var steps: [SyncSession.Effect] = []
            syncs[tag]?.fail(into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
    }

    mutating func takeGeneration(
        above generation: Int64, _ now: Now, into effects: inout [Effect]
    ) {
        guard generation >= identity.generation else { return }
        identity.generation = Generation.next(stored: generation, now: now.wall)
        run(
            .commit(ManifestEdit(identity: identity)), .generation(identity.generation),
            into: &effects)
    }
}

/// What this build calls itself.
package enum Release {
    package static let version = "0.1.0"
}
