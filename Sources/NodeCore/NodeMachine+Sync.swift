import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// Records on their way from a peer: one request under way at a time.
struct FetchState {
    var peer: NodeID
    /// A read waits for it until then.
    var awaited: Instant?
    var queue: [SyncNeed] = []
    var asked: [SyncNeed] = []
    /// Without an answer by then it is forgotten; whoever needs the records asks again.
    var deadline: Instant
    /// Catching up goes slowly while clients are served: nothing is asked for before this.
    var resumeAt: Instant?
}

// Comparing sets with a peer and pulling what is missing.

extension NodeMachine {
    mutating func beginSync(
        with peer: NodeID, _ partitions: PartitionSet, _ purpose: SyncSession.Purpose, _ now: Now,
        into effects: inout [Effect]
    ) {
        let shared = partitions.intersection(mine).intersection(ring.partitions(of: peer))
        let age: Duration
        switch purpose {
        case .catchUp: age = configuration.catchUpAge
        case .recovery, .read, .pulled: age = .zero
        }
        let session = SyncSession(
            tag: newTag(), peer: peer, partitions: shared, purpose: purpose, ageMin: age,
            boundary: boundary(now), now: now.monotonic)
        syncs[session.tag] = session
        counters.syncs += 1
        carry([session.start(index.digests)], of: session.tag, now, into: &effects)
    }

    /// The oldest of the segments that are compared one by one.
    private func boundary(_ now: Now) -> Segment {
        Segment(
            Segment(createdAt: now.wall, length: configuration.segmentLength).number
                - ReplicationLimits.recentSegments)
    }

    mutating func advanceCatchUp(_ now: Now, into effects: inout [Effect]) {
        guard now.monotonic >= catchUpAt else { return }
        catchUpAt = now.monotonic + configuration.catchUpInterval
        var candidates: [NodeID] = []
        for peer in peers where isReachable(peer) {
            if !ring.partitions(of: peer).intersection(mine).isEmpty { candidates.append(peer) }
        }
        guard !candidates.isEmpty, canLearn else { return }
        catchUpTurn += 1
        let peer = candidates[catchUpTurn % candidates.count]
        let isBusy = syncs.values.contains { session in
            session.peer == peer && session.purpose == .catchUp
        }
        guard !isBusy else { return }
        beginSync(with: peer, mine, .catchUp, now, into: &effects)
    }

    // MARK: - Answering

    mutating func answerSync(
        _ ask: SyncAsk, to peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard ask.partitions.isSubset(of: mine) else { return }
        let digests = index.digests
        let undecided = undecidedSegments(ask)
        var segments: [Segment] = []
        var after: BatchID?
        var olderDiffers = false
        switch ask.scope {
        case .newest(let boundary, let sums, let older):
            let theirs = Dictionary(sums.map { ($0.segment, $0.digest) }) { first, _ in first }
            let held = Set(digests.heldSegments).union(theirs.keys).union(undecided)
            var newest = SetDigest.empty
            for segment in held.sorted() where segment >= boundary {
                let own = digests.sum(of: ask.partitions, in: segment)
                newest.merge(own)
                if own != theirs[segment] ?? .empty || undecided.contains(segment) {
                    segments.append(segment)
                }
            }
            var ownOlder = digests.sum(of: ask.partitions)
            ownOlder.sum &-= newest.sum
            ownOlder.count -= newest.count
            olderDiffers = ownOlder != older || undecided.contains { $0 < boundary }
        case .older(let before, let sums):
            let theirs = Dictionary(sums.map { ($0.segment, $0.digest) }) { first, _ in first }
            let held = Set(digests.heldSegments).union(undecided)
            for segment in held.sorted() where segment < before {
                let own = digests.sum(of: ask.partitions, in: segment)
                if own != theirs[segment] ?? .empty || undecided.contains(segment) {
                    segments.append(segment)
                }
            }
        case .more(let rest, let last):
            segments = rest
            after = last
        }
        let (listing, rest) = list(segments, after: after, ask, now)
        var reply = SyncReply(
            tag: ask.tag, round: ask.round, listing: listing, rest: rest,
            olderDiffers: olderDiffers, isSource: isSource(for: ask),
            frozen: closing.durable.frozen)
        if ask.wantsUnbound {
            reply.marks = HistoryMarks(
                sealed: closing.durable.sealed, index.base, of: ask.partitions)
        }
        send(.syncReply(reply), to: peer, into: &effects)
    }

    /// Segments of batches that this node keeps and does not know to be bound: digests do not cover
    /// them, and a peer that lost its disk must hear of each, since the other vote may have been
    /// its own.
    private func undecidedSegments(_ ask: SyncAsk) -> Set<Segment> {
        guard ask.wantsUnbound else { return [] }
        var segments: Set<Segment> = []
        for id in drives.ids {
            guard let entry = index[id], !entry.isBound, ask.partitions.contains(entry.home)
            else { continue }
            segments.insert(segment(of: entry.header))
        }
        return segments
    }

    private func list(
        _ segments: [Segment], after: BatchID?, _ ask: SyncAsk, _ now: Now
    ) -> (listing: [SyncEntry], rest: [Segment]) {
        var listing: [SyncEntry] = []
        for (place, segment) in segments.enumerated() {
            for id in index.ids(in: segment) {
                if place == 0, let after, id <= after { continue }
                guard let entry = index[id], let listed = listed(entry, ask, now) else { continue }
                if listing.count == ReplicationLimits.listingMax {
                    // The last entry may end the segment before this one: continue behind it there.
                    let last = index.segment(of: listing[listing.count - 1].header)
                    let start = segments.firstIndex(of: last) ?? place
                    return (listing, Array(segments[start...]))
                }
                listing.append(listed)
            }
        }
        return (listing, [])
    }

    /// Whether what this node lists is all that it stands for. What it holds in doubt it lists to a
    /// recovering peer as such, which inherits the doubt: two nodes would else wait for each other.
    /// A peer that is no voter of its home is told nothing of it before it is settled, and may have
    /// counted its slices with the vote that it lost: until then this node is no source for it.
    private func isSource(for ask: SyncAsk) -> Bool {
        guard isVoting else { return false }
        return doubt.allSatisfy { id in
            guard ask.wantsUnbound, let entry = index[id], !entry.isBound else { return false }
            return ask.partitions.contains(entry.home)
                || entry.touched.intersection(ask.partitions).isEmpty
        }
    }

    private func listed(_ entry: BatchEntry, _ ask: SyncAsk, _ now: Now) -> SyncEntry? {
        guard entry.isBound || ask.wantsUnbound else { return nil }
        if ask.ageMin > .zero, now.monotonic < entry.changedAt + ask.ageMin { return nil }
        let applied = entry.applied.intersection(ask.partitions)
        let hasRecord = ask.partitions.contains(entry.home) && entry.record?.isDurable == true
        guard hasRecord || !applied.isEmpty else { return nil }
        return SyncEntry(
            header: entry.header, home: entry.home, hasRecord: hasRecord, applied: applied,
            isFinished: entry.isFinished, isBound: entry.isBound,
            isHusk: !entry.husks(of: applied).isEmpty
                || hasRecord && entry.record?.position == nil)
    }

    // MARK: - Learning

    mutating func receive(
        _ reply: SyncReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard var session = syncs[reply.tag], session.peer == peer else { return }
        // What this node promised to take no more, its sources had promised as well.
        if session.purpose == .recovery {
            raiseFreeze(to: reply.frozen, now, into: &effects)
            if let marks = reply.marks, marks.exceed(index.base, in: session.partitions) {
                beginProbing(now, into: &effects)
                return
            }
            if reply.listing.contains(where: { isOutOfReach($0) }) {
                beginProbing(now, into: &effects)
                return
            }
        }
        for entry in reply.listing where index[entry.header.id]?.record != nil {
            // The peer says that it is bound; the same content here is bound as well.
            if entry.isBound, index[entry.header.id]?.header.contentHash == entry.header.contentHash
            {
                decideBound(entry.header.id, now, into: &effects)
                if entry.isFinished {
                    finish(entry.header.id, entry.header.contentHash, now, into: &effects)
                }
            }
        }
        if session.purpose == .recovery {
            for entry in reply.listing where !entry.isBound {
                inheritDoubt(entry.header.id, now, into: &effects)
            }
            noteListed(reply.listing)
        }
        var steps: [SyncSession.Effect] = []
        let known = index
        let mine = mine
        session.receive(
            reply, digests: index.digests, now: now.monotonic,
            needs: { known.need(of: $0, in: mine) }, into: &steps)
        syncs[reply.tag] = session
        carry(steps, of: reply.tag, now, into: &effects)
    }

    private mutating func noteListed(_ listing: [SyncEntry]) {
        guard case .recovering(var recovery) = life else { return }
        for entry in listing where index[entry.header.id]?.isBound != true {
            recovery.listed.insert(entry.header.id)
        }
        life = .recovering(recovery)
    }

    /// It is lacking here, and its payload is no longer in the log of whoever lists it.
    private func isOutOfReach(_ listed: SyncEntry) -> Bool {
        guard listed.isHusk, index.need(of: listed, in: mine) != nil else { return false }
        guard let own = index[listed.header.id], own.record != nil,
            own.header.contentHash == listed.header.contentHash
        else { return true }
        return !own.canGive(listed.applied.intersection(mine))
    }

    mutating func carry(
        _ steps: [SyncSession.Effect], of tag: Tag, _ now: Now, into effects: inout [Effect]
    ) {
        for step in steps {
            guard let session = syncs[tag] else { return }
            switch step {
            case .send(let message):
                send(message, to: session.peer, into: &effects)
            case .need(let needs):
                satisfy(needs, of: session, now, into: &effects)
            case .end(let isComplete):
                syncs[tag] = nil
                fetches[tag] = nil
                endSync(session, isComplete, now, into: &effects)
            }
        }
    }

    private mutating func satisfy(
        _ needs: [SyncNeed], of session: SyncSession, _ now: Now, into effects: inout [Effect]
    ) {
        var missing: [SyncNeed] = []
        for need in needs {
            let id = need.header.id
            awaited[id, default: []].append((tag: session.tag, need: need))
            if let entry = index[id], entry.header.contentHash == need.header.contentHash,
                entry.record != nil, entry.canGive(need.partitions)
            {
                want(id, need.partitions, reply: nil, now, into: &effects)
                checkSettled(id, now, into: &effects)
            } else {
                missing.append(need)
            }
        }
        if !missing.isEmpty, !mayPull(for: session.purpose) {
            var steps: [SyncSession.Effect] = []
            syncs[session.tag]?.fail(into: &steps)
            carry(steps, of: session.tag, now, into: &effects)
        } else if !missing.isEmpty {
            beginFetch(missing, from: session.peer, for: session.tag, now, into: &effects)
        }
    }

    /// Tells the sessions and the reads that wait for a batch when it has become part of this node.
    mutating func checkSettled(_ id: BatchID, _ now: Now, into effects: inout [Effect]) {
        settleUnites(id, into: &effects)
        guard let waiting = awaited[id], let entry = index[id] else { return }
        var open: [(tag: Tag, need: SyncNeed)] = []
        var settled: [Tag] = []
        var isInDoubt = false
        for (tag, need) in waiting where syncs[tag] != nil {
            let holds = !need.wantsRecord || entry.holdsDurably(need.header.contentHash)
            // Undecided, and another content was promised here meanwhile: that one stands.
            let gaveWay =
                !need.isBound && entry.header.contentHash != need.header.contentHash
            if gaveWay
                || holds && (entry.isBound || !need.isBound)
                    && need.partitions.isSubset(of: entry.applied)
            {
                settled.append(tag)
                // The source listed it with its doubt, and the record came by another way.
                if !need.isBound { isInDoubt = true }
            } else {
                open.append((tag: tag, need: need))
            }
        }
        awaited[id] = open.isEmpty ? nil : open
        if isInDoubt { inheritDoubt(id, now, into: &effects) }
        for tag in settled {
            var steps: [SyncSession.Effect] = []
            syncs[tag]?.settle(id, now: now.monotonic, into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
    }

    private mutating func endSync(
        _ session: SyncSession, _ isComplete: Bool, _ now: Now, into effects: inout [Effect]
    ) {
        if !isComplete {
            // Whatever it still waited for is asked for again by the next round.
            for id in awaited.keys.sorted() {
                awaited[id]?.removeAll { $0.tag == session.tag }
                if awaited[id]?.isEmpty == true { awaited[id] = nil }
            }
        }
        if isComplete, session.purpose == .catchUp { audit.pulls[session.peer, default: 0] += 1 }
        if session.learned > 0, isComplete {
            counters.healed += UInt64(session.learned)
            if session.purpose == .catchUp || session.purpose == .recovery {
                effects.append(.report(.caughtUp(from: session.peer, batches: session.learned)))
            }
        }
        switch session.purpose {
        case .catchUp:
            break
        case .recovery:
            if isComplete, session.isSource {
                sourceDone(session.peer, now, into: &effects)
            }
        case .read(let tag):
            // A partner that restarted since it gave its digest may list less than it stood for.
            partnerRead(
                tag, session.peer, isComplete && session.isSource, now, into: &effects)
        case .pulled(let peer, let tag):
            if isComplete { send(.pulled(tag), to: peer, into: &effects) }
        }
    }
}
