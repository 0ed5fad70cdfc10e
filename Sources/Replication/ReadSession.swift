package import Core
package import Storage

/// One coordinator's run over one read. For each partition one voter (the base) gives rows, R-1
/// (its partners) give digests. Equal digests: done. Else the difference is closed in a second
/// round, where the newest batches explain it (`ReadUnion`). Where they do not, a spare voter is
/// asked whether it agrees with one of them, and at last the base converges with its partners.
package struct ReadSession: Sendable {
    package enum Effect: Sendable {
        case send(ReplicationMessage, to: NodeID)
        case answer(ClientResponse, roundTrips: Int)
        /// `node` took this long to answer; coordinators prefer quick ones.
        case observed(NodeID, Duration)
        /// `node` has not answered for this long.
        case late(NodeID, Duration)
        /// `node` holds something else than a quorum does, by more than its newest batches.
        case behind(NodeID)
        case noted(Event)
    }

    /// What a coordinator counts.
    package enum Event: Hashable, Sendable {
        /// A spare voter was asked because another did not answer.
        case speculated
        /// A spare voter was asked because the newest batches did not explain the difference.
        case widened
        /// A second round adds up what the voters lack.
        case united
        /// The coordinator and its partner closed their difference in the first round.
        case met
        /// The newest batches did not explain the difference.
        case fellBack
    }

    /// Partitions read from the same voters: one exchange, under a tag of its own.
    struct Group: Sendable {
        struct Asked: Sendable {
            var node: NodeID
            var at: Instant
        }

        struct Answer: Sendable {
            var result: ReadResult?
            var state: ReadState
            var meeting: ReadMeeting?
        }

        enum Phase: Sendable {
            /// Rows and digests are on their way. Next: any other.
            case asking(answers: [NodeID: Answer])
            /// `nodes` are the quorum, `rows` what its base has; `open` still unite. Next: done.
            case uniting(nodes: [NodeID], rows: [SeriesRow], open: Set<NodeID>)
            /// The base, first of `nodes`, converges with the others. Next: done.
            case converging(nodes: [NodeID])
            case done(ReadResult, nodes: [NodeID])
        }

        var partitions: PartitionSet
        var required: Int
        /// Preferred first: the base, the partners, then spares.
        var asked: [Asked]
        var spares: [NodeID]
        var speculateAt: Instant?
        /// Enough answered, and they differ by more than their newest batches. Who is silent has
        /// until `speculateAt` to agree with one of them; then they converge.
        var isDivided = false
        /// When the phase began.
        var startedAt: Instant
        /// Round trips so far, those of earlier attempts and this phase included.
        var roundTrips: Int
        /// A record had to be fetched before a voter united: a trip behind a trip.
        var hasFetched = false
        /// The set that the coordinator told its partner to meet.
        var told: SetDigest?
        var phase = Phase.asking(answers: [:])

        var isDone: Bool {
            if case .done = phase { true } else { false }
        }

        /// Since when it owes the phase's answer.
        func askedAt(_ node: NodeID) -> Instant {
            guard case .asking = phase else { return startedAt }
            return asked.first { $0.node == node }?.at ?? startedAt
        }

        /// Who still owes an answer.
        var silent: [NodeID] {
            switch phase {
            case .asking(let answers): asked.map(\.node).filter { answers[$0] == nil }
            case .uniting(_, _, let open): open.sorted()
            // A partner that does not answer the base cannot be told from a slow base.
            case .converging(let nodes): [nodes[0]]
            case .done: []
            }
        }
    }

    /// How a read is done, apart from what is asked.
    package struct Options: Sendable {
        /// How long a round may take before it is begun anew with other voters; doubles each time.
        package var attemptTimeout: Duration
        package var deadline: Instant
        /// This coordinator: where it votes, what it asks of itself costs no trip.
        package var coordinator: NodeID
        /// Behind it everything was applied everywhere when the read began.
        package var frontier: WallTime?
        /// What the client asked, and by which floor `query` is its translation.
        package var asked: ReadQuery
        package var floor = RetentionFloor.none
        /// Of a scan: a key may lie in several partitions, so that only who reads all of them can
        /// tell which keys are the greatest; of the others all totals are needed.
        package var splitsKeys = false
        /// Planted bugs: the larger answer; a union that nobody is made to hold, or all but the
        /// coordinator.
        package var isMaximumRead = false
        package var forgetsUnion = false
        package var forgetsOwn = false

        package init(
            attemptTimeout: Duration, deadline: Instant, coordinator: NodeID, asked: ReadQuery
        ) {
            self.asked = asked
            self.coordinator = coordinator
            self.attemptTimeout = attemptTimeout
            self.deadline = deadline
        }
    }

    package let tag: Tag
    package let request: RequestID
    package let query: ReadQuery
    /// All that the read covers.
    private let partitions: PartitionSet
    package let consistency: Consistency
    package let options: Options
    /// By tag: `tag` plus its place.
    var groups: [Tag: Group] = [:]
    private var nextTag: Tag
    var waiting = PartitionSet()
    var retryAt: Instant?
    private(set) var attemptTimeout: Duration
    /// Of the last choice.
    var patience: Duration = .zero
    /// Left out for now: silent in an attempt, or said that it has no vote.
    private var silent: Set<NodeID> = []
    var nonVoting: Set<NodeID> = []
    /// Voters that cannot read what they hold, and why: others may.
    var damaged: [NodeID: String] = [:]
    /// Of attempts that came to nothing.
    private var lostRoundTrips = 0
    var hasEnded = false

    /// Groups of one session, over all its attempts: how many tags it may use.
    package static let tagsMax: UInt64 = 1 << 20
    private static let retryAfter: Duration = .milliseconds(100)
    /// How long at least to wait for a voter that may settle a difference.
    static let agreementPatienceMin: Duration = .milliseconds(20)

    package init(
        tag: Tag, request: RequestID, query: ReadQuery, partitions: PartitionSet,
        consistency: Consistency, options: Options
    ) {
        self.tag = tag
        self.request = request
        self.query = query
        self.consistency = consistency
        self.options = options
        attemptTimeout = options.attemptTimeout
        nextTag = Tag(tag.number + 1)
        self.partitions = partitions
        waiting = partitions
    }

    package func owns(_ other: Tag) -> Bool {
        groups[other] != nil
    }

    package var deadline: Instant { options.deadline }

    package var nextDeadline: Instant {
        var next = options.deadline
        if let retryAt { next = min(next, retryAt) }
        for group in groups.values where !group.isDone {
            next = min(next, group.startedAt + attemptTimeout)
            if let at = group.speculateAt { next = min(next, at) }
        }
        return next
    }

    /// What the session needs to know of the cluster in order to choose.
    package struct Choice {
        /// The voters that count at this level.
        package var replicas: (PartitionID) -> [NodeID]
        package var isReachable: (NodeID) -> Bool
        /// What is sent to it arrives, as far as this coordinator knows.
        package var isLinked: (NodeID) -> Bool
        /// Preferred first.
        package var rank: (NodeID) -> Int
        /// A voter that has not answered for this long is late: a spare one is asked.
        package var patience: Duration
        /// What this coordinator holds of the one partition that is read; nil where it is no
        /// replica of it, or more are read.
        package var ownState: ReadState?

        package init(
            replicas: @escaping (PartitionID) -> [NodeID],
            isReachable: @escaping (NodeID) -> Bool, isLinked: @escaping (NodeID) -> Bool,
            rank: @escaping (NodeID) -> Int, patience: Duration, ownState: ReadState? = nil
        ) {
            self.isLinked = isLinked
            self.ownState = ownState
            self.replicas = replicas
            self.isReachable = isReachable
            self.rank = rank
            self.patience = patience
        }
    }

    // MARK: - Inputs

    /// Sends what waits to be read; refuses where too few voters can be reached.
    package mutating func start(_ choice: Choice, now: Instant, into effects: inout [Effect]) {
        guard !hasEnded else { return }
        retryAt = nil
        guard nextTag.number + UInt64(Limits.partitionsMax) < tag.number + Self.tagsMax else {
            // So many attempts failed that there is no name left for another.
            end(.timedOut(required: consistency.required(of: 3), answered: 0), into: &effects)
            return
        }
        var plan: [[NodeID]: (partitions: PartitionSet, spares: [NodeID])] = [:]
        var isStuck = PartitionSet()
        for partition in waiting {
            let voters = choice.replicas(partition)
            let required = consistency.required(of: voters.count)
            let reachable = voters.filter(choice.isReachable)
            guard reachable.count >= required else {
                end(.tooFewReplicas(required: required, alive: reachable.count), into: &effects)
                return
            }
            let sound = reachable.filter { damaged[$0] == nil }
            guard sound.count >= required else {
                let broken = reachable.first { damaged[$0] != nil }
                let why = broken.map { "\($0): \(damaged[$0] ?? "")" }
                end(.storage(why ?? "its replicas cannot read it"), into: &effects)
                return
            }
            let able = sound.filter { !nonVoting.contains($0) && !silent.contains($0) }
            guard able.count >= required else {
                isStuck.insert(partition)
                continue
            }
            let ranked = able.sorted { (choice.rank($0), $0) < (choice.rank($1), $1) }
            let spares = isOfOneKey ? ranked.dropFirst(required).filter(choice.isLinked) : []
            plan[
                Array(ranked.prefix(required)), default: (PartitionSet(), spares)
            ].partitions.insert(partition)
        }
        for (nodes, share) in plan.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            launch(
                nodes, share.partitions, share.spares, choice, now: now, into: &effects)
        }
        waiting = isStuck
        if !isStuck.isEmpty {
            // Nobody is left out for good: a node in doubt settles, a slow one comes back.
            silent = []
            nonVoting = []
            retryAt = now + Self.retryAfter
        }
        finishIfDone(into: &effects)
    }

    package mutating func advance(
        to now: Instant, choice: Choice, into effects: inout [Effect]
    ) {
        guard !hasEnded else { return }
        if now >= options.deadline {
            let answered = Set(
                groups.values.flatMap { group in
                    group.asked.map(\.node).filter { !group.silent.contains($0) }
                }
            ).count
            end(
                .timedOut(required: consistency.required(of: 3), answered: answered), into: &effects
            )
            return
        }
        var isLate = false
        for (tag, group) in groups.sorted(by: { $0.key < $1.key }) where !group.isDone {
            let isOver = now >= group.startedAt + attemptTimeout
            // Of a divided group also where the attempt ends: what they hold is known, and enough.
            if let at = group.speculateAt, now >= at, group.isDivided || !isOver {
                speculate(tag, now: now, into: &effects)
            } else if isOver {
                isLate = true
                for node in group.silent {
                    silent.insert(node)
                    effects.append(.late(node, now - group.askedAt(node)))
                }
                giveUp(tag)
            }
        }
        if isLate {
            attemptTimeout += attemptTimeout
            start(choice, now: now, into: &effects)
        } else if let retryAt, now >= retryAt {
            start(choice, now: now, into: &effects)
        }
    }

    /// The partitions of a group wait to be read again.
    mutating func giveUp(_ tag: Tag) {
        guard let group = groups.removeValue(forKey: tag) else { return }
        lostRoundTrips = max(lostRoundTrips, group.roundTrips)
        waiting.formUnion(group.partitions)
    }

    mutating func takeTag() -> Tag {
        let tag = nextTag
        nextTag = Tag(nextTag.number + 1)
        precondition(
            nextTag.number < self.tag.number + Self.tagsMax, "a read made a million attempts")
        return tag
    }

    /// Windows of one key: the kind of read that is asked for at high rates and unites.
    var isOfOneKey: Bool {
        if case .series = query { true } else { false }
    }

    private mutating func launch(
        _ nodes: [NodeID], _ partitions: PartitionSet, _ spares: [NodeID], _ choice: Choice,
        now: Instant, into effects: inout [Effect]
    ) {
        let tag = takeTag()
        patience = choice.patience
        groups[tag] = Group(
            partitions: partitions, required: nodes.count,
            asked: nodes.map { Group.Asked(node: $0, at: now) }, spares: spares,
            speculateAt: spares.isEmpty ? nil : now + patience, startedAt: now,
            roundTrips: lostRoundTrips + 1)
        let meeting = meets(nodes) ? choice.ownState : nil
        groups[tag]?.told = meeting?.digest
        for node in nodes {
            let role: ReadAsk.Role =
                node == nodes[0] || options.isMaximumRead
                ? .data : meeting.map { .meet($0) } ?? .digest
            effects.append(.send(.read(ask(tag, partitions, role, of: nodes.count)), to: node))
        }
    }

    /// A coordinator that is the base knows its set before it asks, and tells it: most differences
    /// need no second round. Two sets can be compared by one partner; of three the coordinator has
    /// to know all.
    private func meets(_ nodes: [NodeID]) -> Bool {
        isOfOneKey && nodes.count == 2 && nodes[0] == options.coordinator
    }

    /// Somebody is late: a voter of the first choice, or one that could have settled a difference.
    private mutating func speculate(_ tag: Tag, now: Instant, into effects: inout [Effect]) {
        guard var group = groups[tag], case .asking = group.phase else { return }
        for node in group.silent { effects.append(.late(node, now - group.askedAt(node))) }
        group.speculateAt = nil
        groups[tag] = group
        if group.isDivided {
            settle(tag, now: now, into: &effects)
        } else {
            effects.append(.noted(.speculated))
            askSpare(tag, now: now, into: &effects)
        }
    }

    /// The first spare voter is asked for rows, so that it can stand in for any of the others.
    mutating func askSpare(_ tag: Tag, now: Instant, into effects: inout [Effect]) {
        guard var group = groups[tag] else { return }
        let spare = group.spares.removeFirst()
        group.asked.append(Group.Asked(node: spare, at: now))
        groups[tag] = group
        effects.append(
            .send(.read(ask(tag, group.partitions, .data, of: group.required)), to: spare))
    }

    func ask(
        _ tag: Tag, _ partitions: PartitionSet, _ role: ReadAsk.Role, of voters: Int
    ) -> ReadAsk {
        ReadAsk(
            tag: tag, query: part(of: partitions), partitions: partitions, role: role,
            isWeak: consistency.isWeak, wantsRecent: isOfOneKey && voters > 1,
            floor: options.floor)
    }

    /// What is asked of those who read these partitions.
    private func part(of partitions: PartitionSet) -> ReadQuery {
        guard case .scan(let spec, _?) = query, options.splitsKeys, partitions != self.partitions
        else { return query }
        return .scan(spec, top: nil)
    }
}
