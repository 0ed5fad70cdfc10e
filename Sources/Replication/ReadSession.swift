package import Core

/// One coordinator's run over one read: for each partition one voter gives rows, R-1 give digests;
/// where they differ, the voter with the rows converges with the others before it answers.
package struct ReadSession: Sendable {
    package enum Effect: Sendable {
        case send(ReplicationMessage, to: NodeID)
        case answer(ClientResponse)
        /// `node` took this long to answer; coordinators prefer quick ones.
        case observed(NodeID, Duration)
    }

    /// Partitions read from the same base with the same partners.
    private struct Group: Sendable {
        var partitions: PartitionSet
        var base: NodeID
        var partners: [NodeID]
        var isConverging = false
        var result: ReadResult?
        var baseDigest: SetDigest?
        var partnerDigests: [NodeID: SetDigest] = [:]
        var partnerResults: [NodeID: ReadResult] = [:]
        var startedAt: Instant
        var isDone = false

        var nodes: [NodeID] { [base] + partners }
    }

    package let tag: Tag
    package let request: RequestID
    package let deadline: Instant
    private let query: ReadQuery
    private let consistency: Consistency
    private let isMaximumRead: Bool
    /// One group is one exchange under its own tag: `tag` plus its place.
    private var groups: [Tag: Group] = [:]
    private var nextTag: Tag
    private var waiting = PartitionSet()
    private var retryAt: Instant?
    private var attemptTimeout: Duration
    /// Left out for now: silent in an attempt, or said that it has no vote.
    private var silent: Set<NodeID> = []
    private var nonVoting: Set<NodeID> = []
    private var results: [ReadResult] = []
    private var replicas: Set<NodeID> = []
    private var hasEnded = false

    /// Groups of one session, over all its attempts: how many tags it may use.
    package static let tagsMax: UInt64 = 1 << 20
    private static let retryAfter: Duration = .milliseconds(100)

    package init(
        tag: Tag, request: RequestID, query: ReadQuery, partitions: PartitionSet,
        consistency: Consistency, attemptTimeout: Duration, deadline: Instant, isMaximumRead: Bool
    ) {
        self.tag = tag
        self.request = request
        self.query = query
        self.consistency = consistency
        self.attemptTimeout = attemptTimeout
        self.deadline = deadline
        self.isMaximumRead = isMaximumRead
        nextTag = Tag(tag.number + 1)
        waiting = partitions
    }

    package func owns(_ other: Tag) -> Bool {
        groups[other] != nil
    }

    package var nextDeadline: Instant {
        var next = deadline
        if let retryAt { next = min(next, retryAt) }
        for group in groups.values where !group.isDone {
            next = min(next, group.startedAt + attemptTimeout)
        }
        return next
    }

    /// What the session needs to know of the cluster in order to choose.
    package struct Choice {
        package var replicas: (PartitionID) -> [NodeID]
        package var isReachable: (NodeID) -> Bool
        /// Preferred first.
        package var rank: (NodeID) -> Int

        package init(
            replicas: @escaping (PartitionID) -> [NodeID],
            isReachable: @escaping (NodeID) -> Bool, rank: @escaping (NodeID) -> Int
        ) {
            self.replicas = replicas
            self.isReachable = isReachable
            self.rank = rank
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
        var plan: [[NodeID]: PartitionSet] = [:]
        var isStuck = PartitionSet()
        for partition in waiting {
            let voters = choice.replicas(partition)
            let required = consistency.required(of: voters.count)
            let reachable = voters.filter(choice.isReachable)
            guard reachable.count >= required else {
                end(.tooFewReplicas(required: required, alive: reachable.count), into: &effects)
                return
            }
            let able = reachable.filter { !nonVoting.contains($0) && !silent.contains($0) }
            guard able.count >= required else {
                isStuck.insert(partition)
                continue
            }
            let chosen = able.sorted { (choice.rank($0), $0) < (choice.rank($1), $1) }
            plan[Array(chosen.prefix(required)), default: PartitionSet()].insert(partition)
        }
        for (nodes, partitions) in plan.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            launch(nodes, partitions, now: now, into: &effects)
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

    package mutating func receive(
        _ reply: ReadReply, from node: NodeID, choice: Choice, now: Instant,
        into effects: inout [Effect]
    ) {
        guard !hasEnded, var group = groups[reply.tag], !group.isDone, group.nodes.contains(node)
        else { return }
        effects.append(.observed(node, now - group.startedAt))
        switch reply.answer {
        case .notVoting:
            nonVoting.insert(node)
            again(reply.tag, choice, now: now, into: &effects)
        case .failed(let why):
            guard !group.isConverging else {
                again(reply.tag, choice, now: now, into: &effects)
                return
            }
            end(.storage("\(node): \(why)"), into: &effects)
        case .read(let result, let digest):
            if node == group.base {
                group.result = result ?? group.result
                group.baseDigest = digest
                if group.isConverging { group.isDone = true }
            } else if !group.isConverging {
                group.partnerDigests[node] = digest
                group.partnerResults[node] = result
            }
            groups[reply.tag] = group
            compare(reply.tag, now: now, into: &effects)
            finishIfDone(into: &effects)
        }
    }

    package mutating func advance(
        to now: Instant, choice: Choice, into effects: inout [Effect]
    ) {
        guard !hasEnded else { return }
        if now >= deadline {
            let answered = Set(
                groups.values.flatMap { group in
                    group.nodes.filter {
                        $0 == group.base
                            ? group.baseDigest != nil : group.partnerDigests[$0] != nil
                    }
                }
            ).count
            end(
                .timedOut(required: consistency.required(of: 3), answered: answered), into: &effects
            )
            return
        }
        var isLate = false
        for (tag, group) in groups.sorted(by: { $0.key < $1.key })
        where !group.isDone && now >= group.startedAt + attemptTimeout {
            isLate = true
            for node in group.nodes where isSilent(node, group) { silent.insert(node) }
            groups[tag] = nil
            waiting.formUnion(group.partitions)
        }
        if isLate {
            attemptTimeout += attemptTimeout
            start(choice, now: now, into: &effects)
        } else if let retryAt, now >= retryAt {
            start(choice, now: now, into: &effects)
        }
    }
}

extension ReadSession {
    private mutating func launch(
        _ nodes: [NodeID], _ partitions: PartitionSet, now: Instant, into effects: inout [Effect]
    ) {
        let tag = takeTag()
        groups[tag] = Group(
            partitions: partitions, base: nodes[0], partners: Array(nodes.dropFirst()),
            startedAt: now)
        for node in nodes {
            let role: ReadAsk.Role = node == nodes[0] || isMaximumRead ? .data : .digest
            effects.append(.send(.read(ask(tag, partitions, role)), to: node))
        }
    }

    private mutating func takeTag() -> Tag {
        let tag = nextTag
        nextTag = Tag(nextTag.number + 1)
        precondition(
            nextTag.number < self.tag.number + Self.tagsMax, "a read made a million attempts")
        return tag
    }

    private func ask(
        _ tag: Tag, _ partitions: PartitionSet, _ role: ReadAsk.Role
    ) -> ReadAsk {
        ReadAsk(
            tag: tag, query: query, partitions: partitions, role: role,
            isWeak: consistency == .one)
    }

    private mutating func compare(_ tag: Tag, now: Instant, into effects: inout [Effect]) {
        guard var group = groups[tag], !group.isDone, !group.isConverging,
            let digest = group.baseDigest, group.partnerDigests.count == group.partners.count
        else { return }
        let different = group.partners.filter { group.partnerDigests[$0] != digest }
        if different.isEmpty {
            group.isDone = true
        } else if isMaximumRead {
            let all = [group.result] + group.partners.map { group.partnerResults[$0] }
            group.result = all.compactMap(\.self).max { $0.weight < $1.weight }
            group.isDone = true
        } else {
            group.isConverging = true
            group.startedAt = now
            group.result = nil
            // Under a tag of its own: a second copy of the first answer must not be taken for this
            // one.
            groups[tag] = nil
            let convergence = takeTag()
            groups[convergence] = group
            effects.append(
                .send(
                    .read(ask(convergence, group.partitions, .converge(with: group.partners))),
                    to: group.base))
            return
        }
        groups[tag] = group
    }

    private func isSilent(_ node: NodeID, _ group: Group) -> Bool {
        if node == group.base { return group.isConverging || group.baseDigest == nil }
        // While the base converges, a partner that does not answer it cannot be told from a slow
        // base.
        return group.partnerDigests[node] == nil
    }

    private mutating func again(
        _ tag: Tag, _ choice: Choice, now: Instant, into effects: inout [Effect]
    ) {
        guard let group = groups.removeValue(forKey: tag) else { return }
        waiting.formUnion(group.partitions)
        // Some partition waits for voters already, and who does not vote was forgotten with that:
        // at once it would be asked again, and again.
        if let retryAt, now < retryAt { return }
        start(choice, now: now, into: &effects)
    }

    private mutating func finishIfDone(into effects: inout [Effect]) {
        guard !hasEnded, waiting.isEmpty, groups.values.allSatisfy(\.isDone) else { return }
        for (_, group) in groups.sorted(by: { $0.key < $1.key }) {
            replicas.formUnion(group.nodes)
            if let result = group.result { results.append(result) }
        }
        guard let merged = ReadResult.merge(results, query: query) else {
            end(.storage("replicas answered with different kinds of rows"), into: &effects)
            return
        }
        hasEnded = true
        effects.append(
            .answer(
                .read(
                    ReadAnswer(
                        result: merged, replicas: replicas.sorted(), consistency: consistency))))
    }

    private mutating func end(_ failure: RequestFailure, into effects: inout [Effect]) {
        hasEnded = true
        effects.append(.answer(.failed(failure)))
    }
}
