import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// What happens once a record is on disk.
enum SyncWaiter {
    /// Answer a bind, if the log still holds this content.
    case bind(LSN, Tag, to: NodeID, BatchID, Hash128, wasBound: Bool)
    /// Slices, or a fetched home record, may be applied.
    case held(LSN, BatchID)
    /// A peer's incarnation is remembered.
    case remembered(LSN, Tag, to: NodeID)
    case absence(LSN, AbsenceMessage, to: NodeID)
    /// A mark of segments holds.
    case marked(LSN, LogKind, below: Segment)

    var lsn: LSN {
        switch self {
        case .bind(let lsn, _, _, _, _, _), .held(let lsn, _), .remembered(let lsn, _, _),
            .absence(let lsn, _, _),
            .marked(let lsn, _, _):
            lsn
        }
    }
}

// Voting for a home record.

extension NodeMachine {
    /// What this node's answers count for.
    var vote: Vote {
        var incarnation = identity.incarnation
        // What a recovering node holds belongs to the life that it is about to begin.
        if case .recovering(let recovery) = life { incarnation = recovery.target }
        return Vote(
            incarnation: incarnation, isVoting: hasVoteInWrites, superseded: lives.superseded)
    }

    private var hasVoteInWrites: Bool {
        isVoting || has(.recoveringVotes) && isRecovering
    }

    mutating func receive(
        _ bind: Bind, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        let id = bind.header.id
        guard bind.home == ring.home(of: id), isDriver(of: id) else { return }
        if let record = bind.record, !isOfThisRing(record) { return }
        let hash = bind.header.contentHash
        guard let entry = index[id] else {
            if mayBeForgotten(id) {
                lookUp(id, for: .bind(bind, from: peer), into: &effects)
            } else {
                receiveUnknown(bind, from: peer, now, into: &effects)
            }
            return
        }
        if entry.header.contentHash == hash {
            if let record = entry.record {
                promise(
                    record.lsn, bind.tag, to: peer, id, hash, wasBound: entry.isBound,
                    into: &effects)
            } else if index.isForgotten(segment(of: entry.header), bind.home) {
                // A copy brought its slices one by one, and its home as part of the history.
                answerBind(bind.tag, .holds(wasBound: true), to: peer, into: &effects)
            } else {
                // Slices of it came before the record did; they are bound, so it is.
                take(bind, from: peer, wasBound: entry.isBound, now, into: &effects)
            }
        } else if bind.isBound, !entry.isBound, entry.applied.isEmpty {
            // What was never decided gives way to what was.
            if bind.header.rule != .retirement { effects.append(.report(.conflict(id))) }
            take(bind, from: peer, wasBound: false, now, into: &effects)
        } else if let record = entry.record, record.lsn > synced, !entry.isBound {
            // This node's own word is not yet durable: it is silent until it is.
            return
        } else {
            noteConflict(bind.header)
            answerBind(
                bind.tag, .conflict(entry.header.contentHash, isBound: entry.isBound), to: peer,
                into: &effects)
        }
    }

    /// An id came with another content than it has: its producer made a mistake, or there are two
    /// of one name.
    mutating func noteConflict(_ header: BatchHeader) {
        if header.rule != .retirement { counters.conflicts += 1 }
    }

    /// Neither memory nor history knows it.
    mutating func receiveUnknown(
        _ bind: Bind, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        if isFrozen(bind.header) {
            receiveFrozen(bind, from: peer, now, into: &effects)
        } else if !bind.isBound, !bind.isAdmitted, let refusal = admission(bind.header, now) {
            answerBind(bind.tag, refusal, to: peer, into: &effects)
        } else {
            take(bind, from: peer, wasBound: false, now, into: &effects)
        }
    }

    /// Its home is where the id says, and its slices lie in partitions that exist.
    func isOfThisRing(_ record: BatchRecord) -> Bool {
        record.home == ring.home(of: record.header.id)
            && record.slices.allSatisfy { Int($0.partition.index) < configuration.partitions }
    }

    /// A node's clock may only refuse a whole batch; what is known is never refused.
    private func admission(_ header: BatchHeader, _ now: Now) -> BindAnswer? {
        guard isClockTrusted(now) else { return .unable(.clock) }
        if header.createdAt < now.wall - configuration.horizon { return .tooOld }
        if header.createdAt > now.wall + Limits.admissionAheadMax { return .ahead }
        return nil
    }

    private mutating func take(
        _ bind: Bind, from peer: NodeID, wasBound: Bool, _ now: Now, into effects: inout [Effect]
    ) {
        if let why = lacksRoom {
            noteHeldBack(why)
            answerBind(bind.tag, .unable(why), to: peer, into: &effects)
            return
        }
        guard let record = bind.record else {
            answerBind(bind.tag, .missing, to: peer, into: &effects)
            return
        }
        // The disk does not keep up: silence, and the coordinator repeats itself.
        guard unsynced.byteCount < ReplicationLimits.unsyncedBytesMax else { return }
        let lsn = hold(record, now, into: &effects)
        promise(
            lsn, bind.tag, to: peer, record.header.id, record.header.contentHash,
            wasBound: wasBound, into: &effects)
        if has(.applyBeforeBound) {
            index.markBound(record.header.id)
            want(record.header.id, mine, reply: nil, now, into: &effects)
        }
    }

    /// Appends a home record; nobody hears of it before it is durable.
    mutating func hold(
        _ record: BatchRecord, _ now: Now, into effects: inout [Effect]
    ) -> LSN {
        let append = appendSynced(.home, record.bytes, into: &effects)
        index.hold(record, lsn: append.lsn, at: append.position)
        logLetters.add(record, in: append.position.file)
        pending.insert(record, limit: ReplicationLimits.pendingBytesMax)
        unsynced.insert(append.lsn, record.bytes.count)
        if isDriver(of: record.header.id) {
            drives.insert(record.header.id, at: now.monotonic + configuration.driveAfter)
        }
        counters.recordsHeld += 1
        return append.lsn
    }

    private mutating func promise(
        _ lsn: LSN, _ tag: Tag, to peer: NodeID, _ id: BatchID, _ hash: Hash128, wasBound: Bool,
        into effects: inout [Effect]
    ) {
        let waiter = SyncWaiter.bind(lsn, tag, to: peer, id, hash, wasBound: wasBound)
        if lsn <= synced {
            keep(waiter, into: &effects)
        } else if has(.acknowledgeBeforeSync) {
            keep(waiter, into: &effects)
            waiters.append(.held(lsn, id))
        } else {
            waiters.append(waiter)
        }
    }

    private mutating func keep(_ waiter: SyncWaiter, into effects: inout [Effect]) {
        guard case .bind(_, let tag, let peer, let id, let hash, let wasBound) = waiter,
            index[id]?.header.contentHash == hash
        else { return }
        answerBind(tag, .holds(wasBound: wasBound), to: peer, into: &effects)
    }

    mutating func answerBind(
        _ tag: Tag, _ answer: BindAnswer, to peer: NodeID, into effects: inout [Effect]
    ) {
        send(.bindReply(BindReply(tag: tag, answer: answer, vote: vote)), to: peer, into: &effects)
    }

    // MARK: - The log

    mutating func logSynced(through lsn: LSN, _ now: Now, into effects: inout [Effect]) {
        guard lsn > synced else { return }
        synced = lsn
        log.markSynced(lsn)
        unsynced.remove(through: lsn)
        let ready = waiters.filter { $0.lsn <= lsn }
        waiters.removeAll { $0.lsn <= lsn }
        for waiter in ready {
            switch waiter {
            case .bind(_, _, _, let id, _, _):
                becameDurable(id, now, into: &effects)
                keep(waiter, into: &effects)
            case .held(_, let id):
                becameDurable(id, now, into: &effects)
            case .remembered(_, let tag, let peer):
                send(.remembered(tag, absence.register), to: peer, into: &effects)
            case .absence(_, let message, let peer):
                send(.absence(message), to: peer, into: &effects)
            case .marked(_, let kind, let below):
                marked(kind, below, now, into: &effects)
            }
        }
        promoteIfDurable(now, into: &effects)
        voteIfRemembered(into: &effects)
        commitFlushIfDurable(into: &effects)
        commitForgetting(into: &effects)
        commitRelease(into: &effects)
        commitCopy(into: &effects)
    }

    private mutating func becameDurable(
        _ id: BatchID, _ now: Now, into effects: inout [Effect]
    ) {
        index.markDurable(id, through: synced)
        continueApply(id, now, into: &effects)
        checkSettled(id, now, into: &effects)
    }
}
