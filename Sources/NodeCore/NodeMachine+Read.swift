import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

// Coordinating reads.

extension NodeMachine {
    mutating func beginRead(
        _ request: RequestID, _ query: ReadQuery, _ consistency: Consistency,
        _ deadline: Instant, _ now: Now, into effects: inout [Effect]
    ) {
        counters.reads += 1
        guard reads.count < configuration.sessionsMax || has(.boundlessSessions) else {
            effects.append(.reply(request, .failed(.overloaded("too many reads are under way"))))
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
        var options = ReadSession.Options(
            attemptTimeout: isSlow
                ? configuration.requestTimeout / 2 : configuration.readAttemptTimeout,
            deadline: deadline, coordinator: configuration.node, asked: query)
        options.floor = floor
        options.isMaximumRead = has(.maximumRead)
        options.forgetsUnion = has(.unionWithoutWriteBack)
        options.forgetsOwn = has(.meetsWithoutHolding)
        options.frontier = frontierTime
        if case .scan(let spec, _) = query, !has(.cutsSplitTop) {
            options.splitsKeys = splitsKeys(spec)
        }
        reads[tag] = ReadSession(
            tag: tag, request: request, query: translated(query, by: options.floor),
            partitions: partitions, consistency: consistency, options: options)
        readOfRequest[request] = tag
        var steps: [ReadSession.Effect] = []
        let choice = choice(query, consistency, now)
        reads[tag]?.start(choice, now: now.monotonic, into: &steps)
        carry(steps, of: tag, now, into: &effects)
        if case .series = query, !consistency.isWeak {
            probe(query, partitions, now, into: &effects)
        }
    }

    /// A key that the scan asks for may lie in several partitions.
    func splitsKeys(_ spec: ScanSpec) -> Bool {
        configuration.keyPlacement(ring.partitioning).splitsKeys(from: spec.from, to: spec.to)
    }

    /// A read names each of its attempts by a tag of its own, in a run that starts at a multiple.
    private mutating func newReadTag() -> Tag {
        nextTag = (nextTag / ReadSession.tagsMax + 1) * ReadSession.tagsMax
        let tag = Tag(nextTag)
        nextTag += ReadSession.tagsMax - 1
        return tag
    }

    /// Beyond any latency: what such a node holds is less than what others do.
    private static let behindRank = 1 << 39
    /// Beyond that: what is sent to such a node is lost.
    private static let unlinkedRank = 1 << 40

    /// The ring and the liveness as they are now.
    ///
    /// - Parameter asksAnew: voters may be asked by it, and told what this one holds: no more than
    ///   what it would answer with.
    private func choice(
        _ query: ReadQuery, _ consistency: Consistency, asksAnew: Bool = true, _ now: Now
    ) -> ReadSession.Choice {
        let ring = ring
        let reachable = reachableNodes
        let own = configuration.node
        let latency = latency
        let linked = linked
        let local = consistency.isLocal ? localNodes : nil
        var ownState: ReadState?
        let instant = now.monotonic
        if case .series(let query) = query, asksAnew, !consistency.isWeak, isVotingOnReads,
            mine.contains(query.partition), !latency.isBehind(own, at: instant)
        {
            ownState = state(of: query, wantsRecent: true, now)
        }
        return ReadSession.Choice(
            replicas: { partition in
                ring.replicas(of: partition).filter { local?.contains($0) != false }
            },
            isReachable: { reachable.contains($0) },
            isLinked: { $0 == own || linked.contains($0) },
            rank: { node in
                let behind = latency.isBehind(node, at: instant) ? Self.behindRank : 0
                guard node != own else { return behind - 1 }
                // Of equals the next in the order of names: nobody is everybody's second choice.
                let isBefore = node < own
                let unlinked = linked.contains(node) ? 0 : Self.unlinkedRank
                return unlinked + behind + 2 * latency.rank(node) + (isBefore ? 1 : 0)
            }, patience: latency.patience, ownState: ownState)
    }

    /// The nodes of this node's data centre.
    var localNodes: Set<NodeID> {
        let own = configuration.members.first { $0.node == configuration.node }
        return Set(configuration.members.filter { $0.dc == own?.dc }.map(\.node))
    }

    /// Asks voters that no read has asked for a while, so that one which was slow can show that it
    /// is quick again. Nobody waits for the answer.
    private mutating func probe(
        _ query: ReadQuery, _ partitions: PartitionSet, _ now: Now, into effects: inout [Effect]
    ) {
        for partition in partitions {
            for node in ring.replicas(of: partition) {
                guard node != configuration.node, isReachable(node),
                    latency.isProbeDue(node, at: now.monotonic)
                else { continue }
                let tag = newTag()
                latency.probe(node, tag, at: now.monotonic)
                let ask = ReadAsk(
                    tag: tag, query: query, partitions: partitions, role: .digest, isWeak: true)
                send(.read(ask), to: node, into: &effects)
            }
        }
    }

    mutating func receive(
        _ reply: ReadReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        if latency.answered(reply.tag, by: peer, at: now.monotonic) { return }
        let tag = Tag(reply.tag.number & ~(ReadSession.tagsMax - 1))
        guard let session = reads[tag], session.owns(reply.tag) else { return }
        var reply = reply
        if case .rolled(let floor) = reply.answer {
            guard !floor.isPlausible(buckets) else {
                return restart(tag, below: floor, now, into: &effects)
            }
            reply.answer = .failed("it tells of windows by \(floor), which is no floor")
        }
        let asksAnew =
            switch reply.answer {
            case .notVoting, .failed: true
            case .read, .met, .united, .tooLarge, .rolled: false
            }
        let choice = choice(session.query, session.consistency, asksAnew: asksAnew, now)
        var steps: [ReadSession.Effect] = []
        reads[tag]?.receive(reply, from: peer, choice: choice, now: now.monotonic, into: &steps)
        carry(steps, of: tag, now, into: &effects)
    }

    private mutating func carry(
        _ steps: [ReadSession.Effect], of tag: Tag, _ now: Now, into effects: inout [Effect]
    ) {
        for step in steps {
            switch step {
            case .send(let message, let node):
                latency.asked(node, at: now.monotonic)
                if let deadline = reads[tag]?.deadline {
                    send(message, to: node, until: deadline, into: &effects)
                } else {
                    send(message, to: node, into: &effects)
                }
            case .observed(let node, let duration):
                latency.observe(node, duration)
            case .late(let node, let duration):
                latency.late(node, duration)
            case .behind(let node):
                latency.behind(node, at: now.monotonic)
            case .noted(.widened):
                counters.readsWidened += 1
            case .noted(.speculated):
                counters.readsSpeculated += 1
            case .noted(.united):
                counters.readsUnited += 1
            case .noted(.met):
                counters.readsMet += 1
            case .noted(.fellBack):
                counters.readsFellBack += 1
            case .answer(let response, let roundTrips):
                guard let session = reads.removeValue(forKey: tag) else { continue }
                readOfRequest[session.request] = nil
                if case .read = response, !session.consistency.isWeak {
                    switch roundTrips {
                    case 1: counters.readsInOne += 1
                    case 2: counters.readsInTwo += 1
                    default: counters.readsInMore += 1
                    }
                }
                effects.append(.reply(session.request, complete(response, of: session)))
            }
        }
        if let session = reads[tag] { readDeadline = min(readDeadline, session.nextDeadline) }
    }

    /// Reads look at the time more often than anything else: what is late is asked of another.
    mutating func advanceReads(_ now: Now, into effects: inout [Effect]) {
        guard now.monotonic >= readDeadline else { return }
        for tag in reads.keys.sorted() {
            guard let session = reads[tag], session.nextDeadline <= now.monotonic else { continue }
            let choice = choice(session.query, session.consistency, now)
            var steps: [ReadSession.Effect] = []
            reads[tag]?.advance(to: now.monotonic, choice: choice, into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
        readDeadline = reads.values.map(\.nextDeadline).min() ?? .distant
    }

    /// The frontier as it was when the read began: what lay behind it was applied everywhere before
    /// any row was read. One replica may lag behind what is decided, so a weak answer says nothing.
    private func complete(
        _ response: ClientResponse, of session: ReadSession
    ) -> ClientResponse {
        guard case .read(let read) = response else { return response }
        var answer = shown(read, by: session.options.floor)
        if !answer.consistency.isWeak { answer.frontier = session.options.frontier }
        return .read(answer)
    }

    mutating func cancel(_ request: RequestID) {
        // A write goes on: what is bound must be counted whole, with or without its client.
        if let tag = readOfRequest.removeValue(forKey: request) { reads[tag] = nil }
        for tag in statuses.keys.sorted() where statuses[tag]?.request == request {
            statuses[tag] = nil
        }
        cancelSurveys(of: request)
        cancelVerifyRequests(of: request)
    }

    /// What happens to a session moves its next deadline only away, so that the earliest one is
    /// looked for where the last has passed.
    private mutating func advanceWrites(_ now: Now, into effects: inout [Effect]) {
        guard now.monotonic >= writeDeadline else { return }
        for tag in writes.keys.sorted() {
            var steps: [WriteSession.Effect] = []
            writes[tag]?.advance(to: now.monotonic, into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
        writeDeadline = writes.values.lazy.map(\.nextDeadline).min() ?? .distant
    }

    mutating func advanceSessions(_ now: Now, into effects: inout [Effect]) {
        let instant = now.monotonic
        advanceWrites(now, into: &effects)
        for tag in syncs.keys.sorted() where syncs[tag].map({ $0.nextDeadline <= instant }) == true
        {
            var steps: [SyncSession.Effect] = []
            syncs[tag]?.advance(to: instant, into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
        advanceFetches(now, into: &effects)
        for tag in statuses.keys.sorted() {
            let silent = statuses[tag]?.silent(at: instant) ?? []
            guard let session = statuses[tag] else { continue }
            for voter in silent {
                send(
                    .statusAsk(tag, session.id, createdAt: session.createdAt), to: voter,
                    into: &effects)
            }
            guard session.deadline <= instant else { continue }
            statuses[tag] = nil
            answer(
                session.request, session.expire(), on: session.id, session.contentHash,
                createdAt: session.createdAt, now, into: &effects)
        }
        for tag in converging.keys.sorted()
        where converging[tag].map({ $0.deadline <= instant }) == true {
            converging[tag] = nil
        }
        for tag in unites.keys.sorted() where unites[tag].map({ $0.deadline <= instant }) == true {
            forgetUnite(tag)
        }
    }
}
