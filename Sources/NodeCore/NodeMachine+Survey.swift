package import Core
package import Replication
import Ring
import Storage

// Cluster-wide audits: coordinating one, and answering as a member.

extension NodeMachine {
    mutating func beginSurvey(
        _ request: RequestID, age: Duration, _ deadline: Instant, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard audit.surveys.count < ReplicationLimits.surveysMax else {
            effects.append(
                .reply(
                    request,
                    .failed(.overloaded("\(ReplicationLimits.surveysMax) audits are under way"))))
            return
        }
        let ring = ring
        let session = SurveySession(
            tag: newTag(), request: request, members: configuration.members.map(\.node),
            partitions: ring.partitioning.all.map { $0 }, replicas: { ring.replicas(of: $0) },
            age: AuditState.bounded(age: age), deadline: deadline,
            isBlind: has(.auditBlind), now: now.monotonic)
        audit.surveys[session.tag] = session
        advanceSurveys(now, into: &effects)
    }

    mutating func advanceSurveys(_ now: Now, into effects: inout [Effect]) {
        guard !audit.surveys.isEmpty else { return }
        let reachable = reachableNodes
        for tag in audit.surveys.keys.sorted() {
            var steps: [SurveySession.Effect] = []
            audit.surveys[tag]?.advance(
                to: now.monotonic, isReachable: { reachable.contains($0) }, into: &steps)
            carry(steps, of: tag, into: &effects)
        }
    }

    mutating func receive(
        _ reply: SurveyReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        var steps: [SurveySession.Effect] = []
        audit.surveys[reply.tag]?.receive(reply, from: peer, now: now.monotonic, into: &steps)
        carry(steps, of: reply.tag, into: &effects)
    }

    private mutating func carry(
        _ steps: [SurveySession.Effect], of tag: Tag, into effects: inout [Effect]
    ) {
        for step in steps {
            switch step {
            case .send(let ask, let node):
                send(.audit(.survey(ask)), to: node, into: &effects)
            case .answer(let answer):
                guard let session = audit.surveys.removeValue(forKey: tag) else { continue }
                effects.append(.reply(session.request, .audit(answer)))
            }
        }
    }

    mutating func cancelSurveys(of request: RequestID) {
        for tag in audit.surveys.keys.sorted() where audit.surveys[tag]?.request == request {
            audit.surveys[tag] = nil
        }
    }

    mutating func answerSurvey(
        _ ask: SurveyAsk, to peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        let need = audit.need(of: ask.tag, now.monotonic - ask.age)
        let state = verification(since: need, now, into: &effects)
        var lines: [SurveyLine] = []
        if ask.round > 0 {
            for partition in mine {
                lines.append(
                    SurveyLine(
                        line: auditLine(partition), events: heldSum(of: partition).events,
                        home: index.homeTotals[Int(partition.index)]))
            }
        }
        let reply = SurveyReply(
            tag: ask.tag, round: ask.round, isSettled: isVotingOnReads,
            unfinished: UInt64(drives.count + doubt.count), healed: counters.healed,
            incidents: counters.incidents, verification: state,
            findings: audit.findings(tables: tables), lines: lines)
        send(.audit(.surveyed(reply)), to: peer, into: &effects)
    }
}

// What operators see of it.

/// How this node and the others stand, as of their last comparisons.
package struct AuditView: Sendable {
    package struct Peer: Sendable {
        package var node: NodeID
        package var partitionsApart: Int
        /// Slices and home records that the peer holds and this node does not, at least.
        package var batchesBehind: UInt64
    }

    /// Peers that share a partition with this node, ascending.
    package var peers: [Peer]
    /// When every one of them was last found equal; nil before, and for a node without such peers.
    package var lastClean: WallTime?
    /// Of its own disk, while one is under way.
    package var verification: VerificationState?
}

extension NodeMachine {
    func auditView(at now: Now) -> AuditView {
        var view = AuditView(
            peers: [], lastClean: nil, verification: audit.verification?.state)
        var oldest: Instant?
        var isProved = true
        for peer in peers where !ring.partitions(of: peer).intersection(mine).isEmpty {
            let lag = audit.replicas.lag(of: peer)
            view.peers.append(
                AuditView.Peer(
                    node: peer, partitionsApart: lag.partitions, batchesBehind: lag.batches))
            if let clean = audit.replicas.lastClean(with: peer) {
                oldest = min(oldest ?? clean, clean)
            } else {
                isProved = false
            }
        }
        if isProved, let oldest { view.lastClean = now.wall - (now.monotonic - oldest) }
        return view
    }
}
