import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// An answer as a replica, while its rows are read.
struct ServedRead {
    var peer: NodeID
    var tag: Tag
    var query: ReadQuery
    /// By which the coordinator shows the rows.
    var floor: RetentionFloor
    /// The set that the rows are the fold of.
    var state: ReadState
    /// The convergence that this read is part of.
    var convergence: Tag?
    /// Memory that is held for it while its files are read.
    var bytes = 0
}

extension ServedRead {
    /// What does not fit into a frame would never arrive, and who asked would wait for it.
    func answer(_ aggregate: ScanAggregate) -> ReadReply.Answer {
        var top: TopSpec?
        if case .scan(_, let wanted) = query { top = wanted }
        let rows = ScanRows(aggregate, top: top)
        guard rows.bytesMax <= ReplicationLimits.totalsBytesMax else {
            return .tooLarge(
                "the totals of \(aggregate.count) keys are more than "
                    + "\(ReplicationLimits.totalsBytesMax >> 20) MiB")
        }
        return .read(.scan(rows), state)
    }
}

extension ReadReply.Answer {
    /// Why rows, or marks of retired letters, could not be read.
    static func failure(_ error: StorageError) -> ReadReply.Answer {
        guard case .scanTooLarge = error else { return .failed("\(error)") }
        return .tooLarge("\(error)")
    }
}

/// A read that first makes this replica hold what its partners hold, then makes them hold what it
/// read.
struct ConvergeState {
    var ask: ReadAsk
    var peer: NodeID
    var partners: [NodeID]
    /// Partners that this node still pulls from; then those that still pull from it.
    var open: Set<NodeID>
    var reply: ReadReply.Answer?
    var deadline: Instant
}

// Answering as a replica.

extension NodeMachine {
    mutating func serve(
        _ ask: ReadAsk, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        if let why = refusal(ask) {
            answer(ask.tag, .notVoting(why), to: peer, into: &effects)
            return
        }
        guard !isAhead(of: ask.floor) else {
            answer(ask.tag, .rolled(retention.durable.floor), to: peer, into: &effects)
            return
        }
        switch ask.role {
        case .digest:
            answer(ask.tag, .read(nil, state(ask, now)), to: peer, into: &effects)
        case .data where isFullOfScans(ask):
            counters.scansWaited += 1
            waitingScans.append(
                (ask: ask, peer: peer, deadline: now.monotonic + configuration.requestTimeout))
        case .data:
            perform(
                ServedRead(
                    peer: peer, tag: ask.tag, query: ask.query, floor: ask.floor,
                    state: state(ask, now), convergence: nil), ask.partitions, into: &effects)
        case .meet(let base):
            meet(ask, base, from: peer, now, into: &effects)
        case .unite(let union):
            unite(ask, union, from: peer, now, into: &effects)
        case .converge(let partners):
            counters.converged += 1
            let tag = newTag()
            converging[tag] = ConvergeState(
                ask: ask, peer: peer, partners: partners, open: Set(partners),
                deadline: now.monotonic + configuration.requestTimeout)
            for partner in partners {
                beginSync(with: partner, ask.partitions, .read(tag), now, into: &effects)
            }
        }
    }

    private func refusal(_ ask: ReadAsk) -> String? {
        if !ask.partitions.isSubset(of: mine) { return "not a replica of all these partitions" }
        if !ask.floor.isPlausible(buckets) { return "it is asked by a floor that no frontier has" }
        if case .series(let query) = ask.query, ask.partitions != PartitionSet([query.partition]) {
            return "it is asked for a key in partitions that are not the key's"
        }
        if jobs.count + waitingScans.count >= ReplicationLimits.jobsMax {
            return "its disk does not keep up with reads"
        }
        switch life {
        case .asking: return "it starts and asks its peers what they remember of it"
        case .recovering: return "it recovers what its disk lost"
        case .promoting: return "it is about to begin a new life"
        case .voting: break
        }
        if !doubt.isEmpty, !ask.isWeak, !has(.voteInDoubt) {
            return "it settles \(doubt.count) batches in doubt"
        }
        return nil
    }

    /// A list that would be one too many waits its turn: refused, it would be asked of the next
    /// node, and of this one again.
    private func isFullOfScans(_ ask: ReadAsk) -> Bool {
        guard case .scan = ask.query else { return false }
        return scanBytes >= configuration.scanBytesMax
    }

    /// A job ended, and only where one is under way anything waits: there may be room for the next.
    mutating func advanceScans(_ now: Now, into effects: inout [Effect]) {
        while let next = waitingScans.first {
            let isLate = next.deadline <= now.monotonic
            guard isLate || !isFullOfScans(next.ask) else { return }
            waitingScans.removeFirst()
            if !isLate { serve(next.ask, from: next.peer, now, into: &effects) }
        }
    }

    /// What scans whose files are read, or wait to be, took from the memtable.
    var scanBytes: Int {
        jobs.values.reduce(0) { bytes, purpose in
            if case .read(let read) = purpose { bytes + read.bytes } else { bytes }
        }
    }

    /// The set that this node stands for in this step.
    func state(_ ask: ReadAsk, _ now: Now) -> ReadState {
        var state = ReadState(digest: .empty, start: lifeNonce)
        switch ask.query {
        case .series(let query):
            return self.state(of: query, wantsRecent: ask.wantsRecent, now)
        case .scan: state.digest = index.digests.appliedSum(of: ask.partitions)
        case .deadLetters:
            state.digest = letterDigest(of: ask.partitions)
        }
        return state
    }

    /// Names this process and its life: what an earlier one of either held may be lost.
    var lifeNonce: UInt64 { identity.startNonce &+ UInt64(identity.incarnation.number) }

    func state(of query: SeriesQuery, wantsRecent: Bool, _ now: Now) -> ReadState {
        ReadState(
            digest: index.digests.appliedSum(of: PartitionSet([query.partition])),
            start: lifeNonce,
            recent: wantsRecent
                ? index.recent(
                    query.partition, since: now.monotonic - ReplicationLimits.recentAge) : [])
    }

    /// Letters are of home records, and what is retired is of applied slices.
    func letterDigest(of partitions: PartitionSet) -> SetDigest {
        has(.lettersByHomes)
            ? index.digests.homeSum(of: partitions) : index.digests.sum(of: partitions)
    }

    mutating func answer(
        _ tag: Tag, _ answer: ReadReply.Answer, to peer: NodeID, into effects: inout [Effect]
    ) {
        var answer = answer
        switch answer {
        case .read, .united, .met:
            // It may have lost its vote while files were read.
            if !isVoting { answer = .notVoting("it lost its vote since the read began") }
        default: break
        }
        send(.readReply(ReadReply(tag: tag, answer: answer)), to: peer, into: &effects)
    }

    /// Takes the snapshot that `digest` names: memtable now, files by name.
    private mutating func perform(
        _ read: ServedRead, _ partitions: PartitionSet, into effects: inout [Effect]
    ) {
        guard !isAhead(of: read.floor) else {
            if let tag = read.convergence { converging[tag] = nil }
            answer(read.tag, .rolled(retention.durable.floor), to: read.peer, into: &effects)
            return
        }
        let snapshot = TableSnapshot(frozen: flush.frozen.map { [$0] } ?? [], tables: tables)
        switch read.query {
        case .series(let query):
            let base = memtable.series(query)
            if snapshot.frozen.isEmpty, snapshot.tables.isEmpty {
                finish(read, .read(.series(base), read.state), into: &effects)
            } else {
                run(.series(query, snapshot, base: base), .read(read), into: &effects)
            }
        case .scan(var spec, let top):
            spec.partitions = partitions
            // Tables are sorted by partition: where a key lies in several, its total is known at
            // the end.
            let kept = splitsKeys(spec) ? nil : top
            var aggregate = ScanAggregate(
                spec,
                keeping: kept.map { .init($0.k, by: $0.order == .count ? .count : .sum) })
            memtable.scan(into: &aggregate)
            if snapshot.frozen.isEmpty, snapshot.tables.isEmpty {
                finish(read, read.answer(aggregate), into: &effects)
            } else {
                var read = read
                read.bytes = aggregate.byteCount
                run(.scan(snapshot, base: aggregate), .read(read), into: &effects)
            }
        case .deadLetters(let query):
            beginDeadLetters(read, query, partitions, into: &effects)
        }
    }

    /// Rows are there: they are the answer, or, while converging, what the partners must hold
    /// first.
    mutating func finish(
        _ read: ServedRead, _ reply: ReadReply.Answer, into effects: inout [Effect]
    ) {
        guard let tag = read.convergence else {
            answer(read.tag, reply, to: read.peer, into: &effects)
            return
        }
        guard var state = converging[tag] else { return }
        state.reply = reply
        state.open = Set(state.partners)
        converging[tag] = state
        for partner in state.partners {
            send(.pull(tag, state.ask.partitions), to: partner, into: &effects)
        }
    }

    /// This node holds what `partner` held.
    mutating func partnerRead(
        _ tag: Tag, _ partner: NodeID, _ isComplete: Bool, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard var state = converging[tag], state.reply == nil else { return }
        guard isComplete else {
            converging[tag] = nil
            answer(
                state.ask.tag, .failed("it could not converge with \(partner)"), to: state.peer,
                into: &effects)
            return
        }
        state.open.remove(partner)
        converging[tag] = state
        guard state.open.isEmpty else { return }
        perform(
            ServedRead(
                peer: state.peer, tag: state.ask.tag, query: state.ask.query,
                floor: state.ask.floor, state: self.state(state.ask, now), convergence: tag),
            state.ask.partitions, into: &effects)
    }

    /// `partner` holds, durably, what this node read.
    mutating func partnerPulled(
        _ tag: Tag, from partner: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard var state = converging[tag], let reply = state.reply else { return }
        state.open.remove(partner)
        converging[tag] = state
        guard state.open.isEmpty else { return }
        converging[tag] = nil
        answer(state.ask.tag, reply, to: state.peer, into: &effects)
    }
}

extension ScanRows {
    /// Of their encoding, at most: a length, a count and a flag, and with values four more numbers.
    fileprivate var bytesMax: Int {
        switch self {
        case .totals(let rows):
            rows.reduce(0) { $0 + $1.key.count + ($1.measure.values == nil ? 13 : 59) }
        case .types(let names), .keys(let names): names.reduce(0) { $0 + $1.count + 2 }
        }
    }

    init(_ aggregate: ScanAggregate, top: TopSpec?) {
        switch aggregate.spec.output {
        case .totalsByKey:
            let rows =
                switch top {
                case .some(let top) where top.order == .count: aggregate.top(top.k, by: .count)
                case .some(let top): aggregate.top(top.k, by: .sum)
                case nil: aggregate.rows
                }
            self = .totals(rows.map { KeyTotal(key: $0.key, measure: $0.measure) })
        case .types, .statistics:
            self = .types(aggregate.rows.map(\.key))
        case .keys:
            self = .keys(aggregate.keys().keys)
        }
    }
}
