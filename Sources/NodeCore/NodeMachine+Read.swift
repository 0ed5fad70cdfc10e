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
    var digest: SetDigest
    /// The convergence that this read is part of.
    var convergence: Tag?
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

// Coordinating reads.

extension NodeMachine {
    mutating func beginRead(
        _ request: RequestID, _ query: ReadQuery, _ consistency: Consistency,
        _ deadline: Instant, _ now: Now, into effects: inout [Effect]
    ) {
        counters.reads += 1
        guard reads.count < configuration.sessionsMax || has(.boundlessSessions) else {
            effects.append(.reply(request, .failed(.notReady("too many reads are under way"))))
            return
        }
        let partitions: PartitionSet
        switch query {
        case .series(let series): partitions = PartitionSet([series.partition])
        case .scan, .deadLetters: partitions = PartitionSet(ring.partitioning.all)
        }
        let tag = newReadTag()
        var isSlow = false
        if case .scan = query { isSlow = true }
        let session = ReadSession(
            tag: tag, request: request, query: query, partitions: partitions,
            consistency: consistency,
            attemptTimeout: isSlow
                ? configuration.requestTimeout / 2 : configuration.readAttemptTimeout,
            deadline: deadline, isMaximumRead: has(.maximumRead))
        reads[tag] = session
        readOfRequest[request] = tag
        var steps: [ReadSession.Effect] = []
        let choice = choice
        reads[tag]?.start(choice, now: now.monotonic, into: &steps)
        carry(steps, of: tag, into: &effects)
    }

    /// A read names each of its attempts by a tag of its own, in a run that starts at a multiple.
    private mutating func newReadTag() -> Tag {
        nextTag = (nextTag / ReadSession.tagsMax + 1) * ReadSession.tagsMax
        let tag = Tag(nextTag)
        nextTag += ReadSession.tagsMax - 1
        return tag
    }

    /// The ring and the liveness as they are now.
    private var choice: ReadSession.Choice {
        let ring = ring
        let reachable = reachableNodes
        let own = configuration.node
        let latency = latency
        return ReadSession.Choice(
            replicas: { ring.replicas(of: $0) },
            isReachable: { reachable.contains($0) },
            // Milliseconds, so that small differences do not move reads about.
            rank: { $0 == own ? -1 : Int((latency[$0] ?? 0) / 1_000_000) })
    }

    mutating func receive(
        _ reply: ReadReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        let tag = Tag(reply.tag.number & ~(ReadSession.tagsMax - 1))
        guard reads[tag]?.owns(reply.tag) == true else { return }
        let choice = choice
        var steps: [ReadSession.Effect] = []
        reads[tag]?.receive(reply, from: peer, choice: choice, now: now.monotonic, into: &steps)
        carry(steps, of: tag, into: &effects)
    }

    private mutating func carry(
        _ steps: [ReadSession.Effect], of tag: Tag, into effects: inout [Effect]
    ) {
        for step in steps {
            switch step {
            case .send(let message, let node):
                send(message, to: node, into: &effects)
            case .observed(let node, let duration):
                let sample = duration.nanoseconds
                latency[node] = ((latency[node] ?? sample) * 7 + sample) / 8
            case .answer(let response):
                guard let session = reads.removeValue(forKey: tag) else { continue }
                readOfRequest[session.request] = nil
                effects.append(.reply(session.request, withFrontier(response)))
            }
        }
    }

    /// One replica may lag behind what is decided, so an answer at ONE says nothing of it.
    private func withFrontier(_ response: ClientResponse) -> ClientResponse {
        guard case .read(var answer) = response, answer.consistency != .one else {
            return response
        }
        answer.frontier = frontierTime
        return .read(answer)
    }

    mutating func cancel(_ request: RequestID) {
        // A write goes on: what is bound must be counted whole, with or without its client.
        if let tag = readOfRequest.removeValue(forKey: request) { reads[tag] = nil }
        for tag in statuses.keys.sorted() where statuses[tag]?.request == request {
            statuses[tag] = nil
        }
    }

    mutating func advanceSessions(_ now: Now, into effects: inout [Effect]) {
        let instant = now.monotonic
        for tag in writes.keys.sorted()
        where writes[tag].map({ $0.nextDeadline <= instant }) == true {
            var steps: [WriteSession.Effect] = []
            writes[tag]?.advance(to: instant, into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
        for tag in reads.keys.sorted() where reads[tag].map({ $0.nextDeadline <= instant }) == true
        {
            let choice = choice
            var steps: [ReadSession.Effect] = []
            reads[tag]?.advance(to: instant, choice: choice, into: &steps)
            carry(steps, of: tag, into: &effects)
        }
        for tag in syncs.keys.sorted() where syncs[tag].map({ $0.nextDeadline <= instant }) == true
        {
            var steps: [SyncSession.Effect] = []
            syncs[tag]?.advance(to: instant, into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
        for tag in fetches.keys.sorted() where fetches[tag].map({ $0.deadline <= instant }) == true
        {
            fetches[tag] = nil
        }
        for tag in statuses.keys.sorted() {
            guard let session = statuses[tag], session.deadline <= instant else { continue }
            statuses[tag] = nil
            effects.append(.reply(session.request, session.expire()))
        }
        for tag in converging.keys.sorted()
        where converging[tag].map({ $0.deadline <= instant }) == true {
            converging[tag] = nil
        }
    }
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
        switch ask.role {
        case .digest:
            answer(
                ask.tag, .read(nil, digest(ask.query, ask.partitions)), to: peer, into: &effects)
        case .data:
            perform(
                ServedRead(
                    peer: peer, tag: ask.tag, query: ask.query,
                    digest: digest(ask.query, ask.partitions), convergence: nil), ask.partitions,
                into: &effects)
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
        if jobs.count >= ReplicationLimits.jobsMax { return "its disk does not keep up with reads" }
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

    private func digest(_ query: ReadQuery, _ partitions: PartitionSet) -> SetDigest {
        switch query {
        case .series, .scan: index.digests.appliedSum(of: partitions)
        case .deadLetters: index.digests.homeSum(of: partitions)
        }
    }

    private mutating func answer(
        _ tag: Tag, _ answer: ReadReply.Answer, to peer: NodeID, into effects: inout [Effect]
    ) {
        send(.readReply(ReadReply(tag: tag, answer: answer)), to: peer, into: &effects)
    }

    /// Takes the snapshot that `digest` names: memtable now, files by name.
    private mutating func perform(
        _ read: ServedRead, _ partitions: PartitionSet, into effects: inout [Effect]
    ) {
        let snapshot = TableSnapshot(frozen: flush.frozen.map { [$0] } ?? [], tables: tables)
        switch read.query {
        case .series(let query):
            let base = memtable.series(query)
            if snapshot.frozen.isEmpty, snapshot.tables.isEmpty {
                finish(read, .read(.series(base), read.digest), into: &effects)
            } else {
                run(.series(query, snapshot, base: base), .read(read), into: &effects)
            }
        case .scan(var spec, let top):
            spec.partitions = partitions
            var aggregate = ScanAggregate(spec)
            memtable.scan(into: &aggregate)
            if snapshot.frozen.isEmpty, snapshot.tables.isEmpty {
                finish(
                    read, .read(.scan(ScanRows(aggregate, top: top)), read.digest), into: &effects)
            } else {
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
                digest: digest(state.ask.query, state.ask.partitions), convergence: tag),
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
