package import Core
import Storage

// What the voters answer, and what follows from it.

extension ReadSession {
    package mutating func receive(
        _ reply: ReadReply, from node: NodeID, choice: Choice, now: Instant,
        into effects: inout [Effect]
    ) {
        guard !hasEnded, let group = groups[reply.tag], group.silent.contains(node) else { return }
        switch reply.answer {
        case .read(let result, let state):
            takeRead(reply.tag, result, state, nil, from: node, now: now, into: &effects)
        case .met(let state, let meeting):
            takeRead(reply.tag, nil, state, meeting, from: node, now: now, into: &effects)
        case .united(let rows, let hasFetched):
            takeUnited(reply.tag, rows, hasFetched, from: node)
        case .notVoting:
            nonVoting.insert(node)
            refuse(group, reply.tag, node, choice, now: now, into: &effects)
        case .failed(let why):
            if case .asking = group.phase { damaged[node] = why }
            refuse(group, reply.tag, node, choice, now: now, into: &effects)
        case .tooLarge(let why):
            // The others hold the same keys.
            end(.tooLarge(why), into: &effects)
        case .rolled:
            // The whole read begins anew, and this session ends with it.
            break
        }
        finishIfDone(into: &effects)
    }

    /// Without it the group has enough voters, or begins anew. Any that was asked later gives rows.
    private mutating func refuse(
        _ group: Group, _ tag: Tag, _ node: NodeID, _ choice: Choice, now: Instant,
        into effects: inout [Effect]
    ) {
        guard case .asking = group.phase, group.asked.count > group.required else {
            return again(tag, choice, now: now, into: &effects)
        }
        groups[tag]?.asked.removeAll { $0.node == node }
        if !group.spares.isEmpty { askSpare(tag, now: now, into: &effects) }
        settle(tag, now: now, into: &effects)
    }

    private mutating func again(
        _ tag: Tag, _ choice: Choice, now: Instant, into effects: inout [Effect]
    ) {
        giveUp(tag)
        // Some partition waits for voters already, and who does not vote was forgotten with that:
        // at once it would be asked again, and again.
        if let retryAt, now < retryAt { return }
        start(choice, now: now, into: &effects)
    }

    // MARK: - First round

    private mutating func takeRead(
        _ tag: Tag, _ result: ReadResult?, _ state: ReadState, _ meeting: ReadMeeting?,
        from node: NodeID, now: Instant, into effects: inout [Effect]
    ) {
        guard var group = groups[tag] else { return }
        switch group.phase {
        case .asking(var answers):
            // How long it took to fetch a record says nothing of how quick this voter is.
            let hasFetched = meeting?.hasFetched == true
            if let asked = group.asked.first(where: { $0.node == node }), !hasFetched {
                effects.append(.observed(node, now - asked.at))
            }
            answers[node] = Group.Answer(result: result, state: state, meeting: meeting)
            group.phase = .asking(answers: answers)
            groups[tag] = group
            settle(tag, now: now, into: &effects)
        case .converging(let nodes):
            guard let result else { return }
            group.phase = .done(result, nodes: nodes)
            groups[tag] = group
        case .uniting, .done:
            break
        }
    }

    /// Enough have answered: which of them agree, or differ by what their newest batches explain?
    mutating func settle(_ tag: Tag, now: Instant, into effects: inout [Effect]) {
        guard var group = groups[tag], case .asking(let answers) = group.phase,
            answers.count >= group.required
        else { return }
        let voters = group.asked.compactMap { asked in
            answers[asked.node].map { ReadUnion.Voter(node: asked.node, state: $0.state) }
        }
        // In the order of preference; without rows from anybody there is nothing to answer yet.
        let bases = voters.filter { answers[$0.node]?.result != nil }
        guard let first = bases.first else { return }
        for base in bases {
            let equal = voters.filter { $0.state.digest == base.state.digest }
            guard equal.count >= group.required, let rows = answers[base.node]?.result else {
                continue
            }
            noteBehind(base, voters, group, into: &effects)
            let partners = equal.map(\.node).filter { $0 != base.node }
            group.phase = .done(rows, nodes: [base.node] + partners.prefix(group.required - 1))
            groups[tag] = group
            return
        }
        let others = voters.map(\.node).filter { $0 != first.node }
        let nodes = [first.node] + others.prefix(group.required - 1)
        if options.isMaximumRead {
            let largest = nodes.compactMap { answers[$0]?.result }.max { $0.weight < $1.weight }
            guard let largest else { return }
            group.phase = .done(largest, nodes: nodes)
            groups[tag] = group
            return
        }
        if first.node == options.coordinator, group.told == first.state.digest,
            group.required == 2, let partner = others.first(where: { answers[$0]?.meeting != nil }),
            let meeting = answers[partner]?.meeting,
            case .series(let rows)? = answers[first.node]?.result
        {
            noteBehind(first, voters, group, into: &effects)
            return meet(
                tag, meeting, [first.node, partner], rows, first.state, now: now, into: &effects)
        }
        if let (union, quorum) = leastUnion(bases, voters, group.required),
            case .series(let rows)? = answers[quorum[0].node]?.result
        {
            noteBehind(quorum[0], voters, group, into: &effects)
            return unite(tag, union, quorum.map(\.node), rows, now: now, into: &effects)
        }
        if !awaitsAgreement(tag, now: now, into: &effects) {
            converge(tag, nodes, now: now, into: &effects)
        }
    }

    /// Of the quorums whose difference is explained, one for each base, that in which the least has
    /// to be fetched; its base first.
    private func leastUnion(
        _ bases: [ReadUnion.Voter], _ voters: [ReadUnion.Voter], _ required: Int
    ) -> (union: ReadUnion, quorum: [ReadUnion.Voter])? {
        guard isOfOneKey else { return nil }
        var least: (union: ReadUnion, quorum: [ReadUnion.Voter])?
        for base in bases {
            var partners = voters.filter { $0.node != base.node }
            if partners.count > required - 1 {
                partners = partners.filter { ReadUnion(base: base, partners: [$0]) != nil }
            }
            guard partners.count >= required - 1 else { continue }
            partners = Array(partners.prefix(required - 1))
            guard let union = ReadUnion(base: base, partners: partners) else { continue }
            if let held = least?.union, held.lacked <= union.lacked { continue }
            least = (union, [base] + partners)
        }
        return least
    }

    /// One of them lags by more than its newest batches, after a restart or behind a cut, and would
    /// have to fetch all that before this read could end. Somebody else may agree with the other:
    /// who is late, or a spare voter.
    ///
    /// - Returns: false where there is nobody, or was, for long enough.
    private mutating func awaitsAgreement(
        _ tag: Tag, now: Instant, into effects: inout [Effect]
    ) -> Bool {
        guard var group = groups[tag] else { return false }
        if group.isDivided {
            guard group.speculateAt != nil else { return false }
        } else {
            guard !group.silent.isEmpty || !group.spares.isEmpty else { return false }
            group.isDivided = true
            // Whoever lags fetches for longer than this.
            let wait = max(patience * 4, Self.agreementPatienceMin)
            group.speculateAt = min(now + wait, group.startedAt + attemptTimeout)
            groups[tag] = group
        }
        guard group.silent.isEmpty else { return true }
        guard !group.spares.isEmpty else { return false }
        groups[tag]?.roundTrips += 1
        effects.append(.noted(.widened))
        askSpare(tag, now: now, into: &effects)
        return true
    }

    /// Whoever holds something else than the quorum of `base`, which its newest batches do not
    /// explain, is asked last for a while.
    private func noteBehind(
        _ base: ReadUnion.Voter, _ voters: [ReadUnion.Voter], _ group: Group,
        into effects: inout [Effect]
    ) {
        guard group.isDivided else { return }
        for voter in voters
        where voter.state.digest != base.state.digest
            && ReadUnion(base: base, partners: [voter]) == nil
        {
            effects.append(.behind(voter.node))
        }
    }

    /// The partner holds what the coordinator named, and gave what the coordinator lacks. To hold
    /// that too needs no trip, but where a record must be fetched. The coordinator is asked in any
    /// case: by now it may have begun a life in which it holds less.
    private mutating func meet(
        _ tag: Tag, _ meeting: ReadMeeting, _ nodes: [NodeID], _ rows: [SeriesRow],
        _ state: ReadState, now: Instant, into effects: inout [Effect]
    ) {
        guard var group = groups.removeValue(forKey: tag) else { return }
        effects.append(.noted(.met))
        let rows = SeriesRow.merge(rows + meeting.rows)
        let next = takeTag()
        group.startedAt = now
        group.speculateAt = nil
        if meeting.hasFetched { group.roundTrips += 1 }
        guard !options.forgetsUnion, !options.forgetsOwn else {
            group.phase = .done(.series(rows), nodes: nodes)
            groups[next] = group
            return
        }
        group.phase = .uniting(nodes: nodes, rows: rows, open: [nodes[0]])
        groups[next] = group
        let lacks = meeting.lacked.map { ReadUnite.Lack(header: $0, source: nodes[1]) }
        let share = ReadUnite(start: state.start, lacks: lacks, gives: [])
        let ask = ask(next, group.partitions, .unite(share), of: group.required)
        effects.append(.send(.read(ask), to: nodes[0]))
    }

    // MARK: - Second round

    /// Under a tag of its own, as every later round: a second copy of a first answer must not be
    /// taken for one of this.
    private mutating func unite(
        _ tag: Tag, _ union: ReadUnion, _ nodes: [NodeID], _ rows: [SeriesRow], now: Instant,
        into effects: inout [Effect]
    ) {
        guard var group = groups.removeValue(forKey: tag) else { return }
        effects.append(.noted(.united))
        var shares = union.shares
        if options.forgetsUnion {
            for place in shares.indices { shares[place].unite.lacks = [] }
            shares.removeAll { $0.unite.gives.isEmpty }
        }
        let next = takeTag()
        group.told = nil
        group.startedAt = now
        group.speculateAt = nil
        group.roundTrips += 1
        group.phase =
            shares.isEmpty
            ? .done(.series(rows), nodes: nodes)
            : .uniting(nodes: nodes, rows: rows, open: Set(shares.map(\.node)))
        groups[next] = group
        for share in shares {
            let ask = ask(next, group.partitions, .unite(share.unite), of: group.required)
            effects.append(.send(.read(ask), to: share.node))
        }
    }

    /// Each voter answers for what it lacked, and with what its batches add: the base's rows of the
    /// first round and these are the fold of the union, whatever was applied in between.
    private mutating func takeUnited(
        _ tag: Tag, _ added: [SeriesRow], _ hasFetched: Bool, from node: NodeID
    ) {
        guard var group = groups[tag], case .uniting(let nodes, var rows, var open) = group.phase
        else { return }
        open.remove(node)
        rows.append(contentsOf: added)
        // What the coordinator itself fetches is on its way beside what it asks of the others, if
        // it asks them anything.
        let isBeside = node == options.coordinator && group.told == nil
        if hasFetched, !isBeside, !group.hasFetched {
            group.hasFetched = true
            group.roundTrips += 1
        }
        group.phase =
            open.isEmpty
            ? .done(.series(SeriesRow.merge(rows)), nodes: nodes)
            : .uniting(nodes: nodes, rows: rows, open: open)
        groups[tag] = group
    }

    private mutating func converge(
        _ tag: Tag, _ nodes: [NodeID], now: Instant, into effects: inout [Effect]
    ) {
        guard var group = groups.removeValue(forKey: tag) else { return }
        effects.append(.noted(.fellBack))
        let next = takeTag()
        group.startedAt = now
        group.speculateAt = nil
        // To the base, and of it to the partners: sums and ids, then "pull from me".
        group.roundTrips += 3
        group.phase = .converging(nodes: nodes)
        groups[next] = group
        let partners = Array(nodes.dropFirst())
        let ask = ask(next, group.partitions, .converge(with: partners), of: group.required)
        effects.append(.send(.read(ask), to: nodes[0]))
    }

    // MARK: - The end

    mutating func finishIfDone(into effects: inout [Effect]) {
        guard !hasEnded, waiting.isEmpty, groups.values.allSatisfy(\.isDone) else { return }
        var replicas: Set<NodeID> = []
        var results: [ReadResult] = []
        var roundTrips = 0
        for (_, group) in groups.sorted(by: { $0.key < $1.key }) {
            guard case .done(let result, let nodes) = group.phase else { continue }
            replicas.formUnion(nodes)
            results.append(result)
            roundTrips = max(roundTrips, group.roundTrips)
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
                        result: merged, replicas: replicas.sorted(), consistency: consistency)),
                roundTrips: roundTrips))
    }

    mutating func end(_ failure: RequestFailure, into effects: inout [Effect]) {
        hasEnded = true
        effects.append(.answer(.failed(failure), roundTrips: 0))
    }
}
