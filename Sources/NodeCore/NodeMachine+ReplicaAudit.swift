package import Core
import Replication
import Ring
package import Storage

// Replicas prove to each other that they hold the same: one peer per round, one message each way
// while all is well. What it costs is a sum over the shared partitions, since both digests of each
// are kept as batches are applied.

extension NodeMachine {
    /// What memory and files hold of a partition.
    package func heldSum(of partition: PartitionID) -> PartitionSum {
        var sum = memtable.sum(of: partition)
        if let frozen = flush.frozen { sum.merge(frozen.sum(of: partition)) }
        sum.merge(tableSums[partition])
        return sum
    }

    mutating func auditLine(_ partition: PartitionID) -> AuditLine {
        memtable.settle(partition)
        var state = heldSum(of: partition).state
        if has(.auditTorn), let earlier = audit.earlierStates[partition] { state = earlier }
        return AuditLine(
            partition: partition,
            sum: AuditSum(
                applied: index.digests.total(partition),
                home: index.digests.homeTotal(partition), state: state))
    }

    private mutating func auditLines(_ partitions: PartitionSet) -> [AuditLine] {
        var lines: [AuditLine] = []
        for partition in partitions { lines.append(auditLine(partition)) }
        return lines
    }

    mutating func advanceAudit(_ now: Now, into effects: inout [Effect]) {
        advanceScrub(now, into: &effects)
        advanceSurveys(now, into: &effects)
        advanceVerifyRequests(now, into: &effects)
        guard now.monotonic >= audit.auditAt else { return }
        audit.auditAt = now.monotonic + configuration.auditInterval
        if has(.auditTorn) {
            for partition in mine {
                audit.earlierStates[partition] = heldSum(of: partition).state
            }
        }
        var candidates: [NodeID] = []
        for peer in peers {
            guard isReachable(peer) else {
                audit.replicas.forget(peer)
                continue
            }
            if !ring.partitions(of: peer).intersection(mine).isEmpty { candidates.append(peer) }
        }
        guard !candidates.isEmpty, isVotingOnReads else { return }
        audit.turn += 1
        settling.comparesWith = candidates[audit.turn % candidates.count]
    }

    mutating func compare(with peer: NodeID, into effects: inout [Effect]) {
        guard isReachable(peer), isVotingOnReads else { return }
        let shared = ring.partitions(of: peer).intersection(mine)
        let lines = auditLines(shared)
        let tag = newTag()
        // One that was not answered is replaced: the next round asks again.
        audit.exchanges[peer] = AuditExchange(
            tag: tag, lines: lines, pulls: audit.pulls[peer] ?? 0)
        counters.comparisons += 1
        send(
            .audit(.ask(AuditAsk(tag: tag, partitions: shared, sum: Self.total(lines)))), to: peer,
            into: &effects)
    }

    private static func total(_ lines: [AuditLine]) -> AuditSum {
        lines.reduce(into: AuditSum()) { $0.merge($1.sum) }
    }

    mutating func receive(
        _ message: AuditMessage, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        switch message {
        case .ask(let ask): if peers.contains(peer) { settling.asks[peer] = ask }
        case .reply(let reply): receive(reply, from: peer, now, into: &effects)
        case .suspect(let line): receiveSuspicion(line, from: peer, now, into: &effects)
        case .survey(let ask): answerSurvey(ask, to: peer, now, into: &effects)
        case .surveyed(let reply): receive(reply, from: peer, now, into: &effects)
        }
    }

    mutating func answer(
        _ ask: AuditAsk, to peer: NodeID, into effects: inout [Effect]
    ) {
        guard ask.partitions.isSubset(of: mine) else { return }
        let lines = auditLines(ask.partitions)
        let reply = AuditReply(
            tag: ask.tag, isSettled: isVotingOnReads, pulls: audit.pulls[peer] ?? 0,
            lines: Self.total(lines) == ask.sum ? [] : lines)
        send(.audit(.reply(reply)), to: peer, into: &effects)
    }

    private mutating func receive(
        _ reply: AuditReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard let exchange = audit.exchanges[peer], exchange.tag == reply.tag else { return }
        audit.exchanges[peer] = nil
        if reply.lines.isEmpty {
            audit.replicas.agree(with: peer, at: now.monotonic)
            return
        }
        guard reply.isSettled, isVotingOnReads else {
            audit.replicas.forget(peer)
            return
        }
        guard reply.lines.map(\.partition) == exchange.lines.map(\.partition) else { return }
        let findings = audit.replicas.judge(
            peer, own: exchange.lines, theirs: reply.lines,
            pulls: ReplicaAudit.Pulls(own: exchange.pulls, theirs: reply.pulls),
            young: configuration.catchUpAge, at: now.monotonic)
        for finding in findings {
            guard let partition = finding.partition else { continue }
            if finding.kind == .incident {
                let line = exchange.lines.first { $0.partition == partition }
                if let line { send(.audit(.suspect(line)), to: peer, into: &effects) }
                let theirs = reply.lines.first { $0.partition == partition }
                open(peer, partition, theirs?.sum, now, into: &effects)
            } else {
                counters.divergences += 1
                effects.append(.report(.divergence(peer, partition)))
            }
        }
    }

    /// A peer found that its fold and this one's differ. Believed only as far as it is seen here.
    private mutating func receiveSuspicion(
        _ theirs: AuditLine, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        let partition = theirs.partition
        guard peers.contains(peer), mine.contains(partition), isVotingOnReads else { return }
        let own = auditLine(partition)
        guard own.sum.applied == theirs.sum.applied, own.sum.state != theirs.sum.state,
            audit.replicas.note(partition, suspectedBy: peer)
        else { return }
        open(peer, partition, theirs.sum, now, into: &effects)
    }

    /// An incident: this node looks whether it is the one that is wrong.
    private mutating func open(
        _ peer: NodeID, _ partition: PartitionID, _ theirs: AuditSum?, _ now: Now,
        into effects: inout [Effect]
    ) {
        counters.incidents += 1
        if let theirs { audit.suspects[partition, default: [:]][peer] = theirs }
        effects.append(.report(.incident(peer, partition)))
        beginRecount(partition, now, into: &effects)
    }
}
