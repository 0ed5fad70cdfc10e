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
    /// Asks the peers what they remember of this node. Next: `voting` (a disk that remembers), or
    /// `promoting` (all are new), or `recovering` (a peer remembers more than the disk).
    case asking(since: Instant, heard: [NodeID: HelloReply])
    /// Takes writes, pulls from all; `sources` are done. Some peer remembers it as `remembered`.
    /// Next: `promoting`.
    case recovering(remembered: Incarnation, sources: Set<NodeID>)
    /// The incarnation is stored here, then remembered by `awaiting`, before it votes. Next:
    /// `voting`.
    case promoting(Incarnation, awaiting: Set<NodeID>, isStored: Bool, Tag)
    /// Next: `recovering`, when a peer that comes back remembers more.
    case voting
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
        case .asking: identity.incarnation > .none
        case .recovering: false
        case .promoting, .voting: true
        }
    }

    /// How long a node with data waits for the word of peers that it cannot reach yet.
    private static let askFor: Duration = .seconds(1)
    private static let repeatAfter: Duration = .milliseconds(300)

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
            tag: hello.tag, incarnation: identity.incarnation, remembers: memory[peer] ?? .none)
        send(.helloReply(reply), to: peer, into: &effects)
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
            if reply.remembers > identity.incarnation {
                recover(
                    "\(peer) remembers a later life of this node", reply.remembers, now,
                    into: &effects)
            } else if reply.remembers < identity.incarnation {
                strangers.insert(peer)
            } else {
                strangers.remove(peer)
            }
        case .recovering(let remembered, let sources):
            life = .recovering(remembered: max(remembered, reply.remembers), sources: sources)
        }
    }

    /// Decides what an asking node is, as soon as enough has been heard.
    mutating func settleLife(_ now: Now, into effects: inout [Effect]) {
        guard case .asking(let since, let heard) = life else { return }
        // The greatest is the same in whatever order the replies are looked at.
        let remembered = heard.values.map(\.remembers).max() ?? .none
        if remembered > identity.incarnation {
            recover(
                "a peer remembers data that this disk does not hold", remembered, now,
                into: &effects)
            return
        }
        let isComplete = heard.count == peers.count
        if identity.incarnation > .none {
            guard isComplete || now.monotonic >= since + Self.askFor else { return }
            for peer in peers {
                if let reply = heard[peer], reply.remembers == identity.incarnation { continue }
                strangers.insert(peer)
            }
            goOn(now, into: &effects)
        } else if isComplete {
            promote(Incarnation(1), awaiting: Set(peers), now, into: &effects)
        }
    }

    /// A restart. A life that ended before its promotion was complete is promoted again: else it
    /// could be lost with its disk, and nobody would know that there was one.
    private mutating func goOn(_ now: Now, into effects: inout [Effect]) {
        let incarnation = identity.incarnation
        if memory[configuration.node] == incarnation || peers.isEmpty {
            vote(into: &effects)
        } else {
            life = .promoting(incarnation, awaiting: strangers, isStored: true, newTag())
            lifeRepeatAt = now.monotonic
            voteIfRemembered(into: &effects)
        }
    }

    mutating func advanceLife(_ now: Now, into effects: inout [Effect]) {
        switch life {
        case .asking(_, let heard):
            settleLife(now, into: &effects)
            guard case .asking = life, isTimeToRepeat(now) else { return }
            for peer in peers where heard[peer] == nil { greet(peer, now, into: &effects) }
        case .recovering(_, let sources):
            guard !copying.isReceiving, isTimeToRepeat(now) else { return }
            let busy = Set(syncs.values.filter { $0.purpose == .recovery }.map(\.peer))
            for peer in peers where isReachable(peer) && !sources.contains(peer) {
                let shared = ring.partitions(of: peer).intersection(mine)
                guard !shared.isEmpty, !busy.contains(peer) else { continue }
                beginSync(with: peer, mine, .recovery, now, into: &effects)
            }
        case .promoting(let incarnation, let awaiting, isStored: true, let tag):
            guard isTimeToRepeat(now) else { return }
            for peer in awaiting.sorted() {
                send(.remember(tag, incarnation), to: peer, into: &effects)
            }
        case .voting:
            guard !strangers.isEmpty, isTimeToRepeat(now) else { return }
            for peer in strangers.sorted() where isReachable(peer) {
                send(.remember(strangersTag, identity.incarnation), to: peer, into: &effects)
            }
        case .promoting:
            break
        }
    }

    private mutating func isTimeToRepeat(_ now: Now) -> Bool {
        guard now.monotonic >= lifeRepeatAt else { return false }
        lifeRepeatAt = now.monotonic + Self.repeatAfter
        return true
    }

    // MARK: - Recovering

    private mutating func recover(
        _ why: String, _ remembered: Incarnation, _ now: Now, into effects: inout [Effect]
    ) {
        life = .recovering(remembered: remembered, sources: [])
        lifeRepeatAt = now.monotonic
        effects.append(.report(.recovering(why)))
        announceLife()
    }

    /// What it held is set aside: no source has given anything yet.
    mutating func restartRecovery() {
        guard case .recovering(let remembered, _) = life else { return }
        life = .recovering(remembered: remembered, sources: [])
    }

    /// `peer` has given all that it held: one source of the union.
    mutating func sourceDone(_ peer: NodeID, _ now: Now, into effects: inout [Effect]) {
        guard case .recovering(let remembered, var sources) = life else { return }
        sources.insert(peer)
        life = .recovering(remembered: remembered, sources: sources)
        let ring = ring
        let isWhole = mine.allSatisfy { partition in
            let voters = ring.replicas(of: partition)
            // Any N - W + 1 of the others contain every acknowledged batch: it was on W voters.
            let needed = voters.count - Consistency.quorum.required(of: voters.count) + 1
            return voters.count(where: sources.contains) >= needed
        }
        guard isWhole else { return }
        let highest = max(identity.incarnation, remembered)
        promote(Incarnation(highest.number + 1), awaiting: Set(peers), now, into: &effects)
    }

    // MARK: - Promoting

    private mutating func promote(
        _ incarnation: Incarnation, awaiting: Set<NodeID>, _ now: Now,
        into effects: inout [Effect]
    ) {
        identity.incarnation = incarnation
        life = .promoting(incarnation, awaiting: awaiting, isStored: false, newTag())
        run(.commit(ManifestEdit(identity: identity)), .promotion, into: &effects)
    }

    mutating func promotionStored(_ now: Now, into effects: inout [Effect]) {
        guard case .promoting(let incarnation, let awaiting, isStored: false, let tag) = life
        else { return }
        life = .promoting(incarnation, awaiting: awaiting, isStored: true, tag)
        lifeRepeatAt = now.monotonic
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
        let majority = Consistency.quorum.required(of: peers.count + 1)
        guard peers.count + 1 - awaiting.count >= majority else { return }
        strangers.formUnion(awaiting)
        vote(into: &effects)
    }

    mutating func remember(
        _ peer: NodeID, _ incarnation: Incarnation, _ tag: Tag, into effects: inout [Effect]
    ) {
        guard peers.contains(peer) else { return }
        if incarnation > memory[peer] ?? .none {
            memory[peer] = incarnation
            forgetRound(with: peer)
            let record = PeerMemory(node: peer, incarnation: incarnation)
            effects.append(
                .append(log.append(kind: LogKind.peer.rawValue, payload: record.encoded)))
            effects.append(.sync)
        }
        // Whichever record says it, it is on disk when everything up to here is.
        if log.last <= synced {
            send(.remembered(tag), to: peer, into: &effects)
        } else {
            effects.append(.sync)
            waiters.append(.remembered(log.last, tag, to: peer))
        }
    }

    mutating func receiveRemembered(
        _ tag: Tag, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        if tag == strangersTag { strangers.remove(peer) }
        guard case .promoting(let incarnation, var awaiting, let isStored, tag) = life else {
            return
        }
        awaiting.remove(peer)
        life = .promoting(incarnation, awaiting: awaiting, isStored: isStored, tag)
        voteIfRemembered(into: &effects)
    }

    private mutating func vote(into effects: inout [Effect]) {
        life = .voting
        strangersTag = newTag()
        if memory[configuration.node] != identity.incarnation {
            // A note to itself: the promotion is complete.
            memory[configuration.node] = identity.incarnation
            let note = PeerMemory(node: configuration.node, incarnation: identity.incarnation)
            effects.append(.append(log.append(kind: LogKind.peer.rawValue, payload: note.encoded)))
            effects.append(.sync)
        }
        effects.append(.report(.voting(incarnation: identity.incarnation)))
        announceLife()
    }

    // MARK: - Doubt

    /// What the log holds without a mark may or may not have been bound: it is settled before this
    /// node votes on reads.
    mutating func findDoubt(_ now: Now, into effects: inout [Effect]) {
        for id in index.ids {
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
        for tag in syncs.keys.sorted() where syncs[tag]?.peer == peer {
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
