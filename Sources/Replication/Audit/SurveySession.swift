package import Core

/// One cluster-wide audit, as the node that was asked coordinates it.
///
///     round 0    each member reads its tables again; it is asked how far it is
///     round 1…   each member gives a line per partition; compared; again, until two rounds in
///                turn are equal, or for `settleMax`
///
/// A member that goes away is no longer waited for and is named in the report.
package struct SurveySession: Sendable {
    package enum Effect: Hashable, Sendable {
        case send(SurveyAsk, to: NodeID)
        case answer(AuditAnswer)
    }

    package let tag: Tag
    package let request: RequestID
    private let members: [NodeID]
    private let partitions: [PartitionID]
    private let replicas: [[NodeID]]
    private let deadline: Instant
    private let began: Instant
    /// How long before `began` a verification may have begun.
    private let age: Duration
    private let isBlind: Bool

    private var round: UInt32 = 0
    private var replies: [NodeID: SurveyReply] = [:]
    private var missing: Set<NodeID> = []
    private var last: [[SurveyLine]] = []
    private var askAt: Instant
    private var settleBy: Instant?

    /// A lost message is repeated after it; rounds follow each other no faster.
    package static let repeatAfter: Duration = .milliseconds(200)
    /// How long sets that differ may take to become equal before the report calls them lagging.
    package static let settleMax: Duration = .seconds(4)

    package init(
        tag: Tag, request: RequestID, members: [NodeID], partitions: [PartitionID],
        replicas: (PartitionID) -> [NodeID], age: Duration, deadline: Instant, isBlind: Bool,
        now: Instant
    ) {
        self.tag = tag
        self.request = request
        self.members = members.sorted()
        self.partitions = partitions
        self.replicas = partitions.map(replicas)
        self.age = age
        self.deadline = deadline
        self.isBlind = isBlind
        began = now
        askAt = now
    }

    package mutating func receive(
        _ reply: SurveyReply, from node: NodeID, now: Instant, into effects: inout [Effect]
    ) {
        guard reply.tag == tag, reply.round == round, members.contains(node) else { return }
        missing.remove(node)
        replies[node] = reply
        guard round > 0, isComplete else { return }
        endRound(now, into: &effects)
    }

    /// - Parameter isReachable: by this node's own lights.
    package mutating func advance(
        to now: Instant, isReachable: (NodeID) -> Bool, into effects: inout [Effect]
    ) {
        missing = Set(members.filter { !isReachable($0) })
        guard now < deadline else {
            conclude(into: &effects)
            return
        }
        guard now >= askAt else { return }
        askAt = now + Self.repeatAfter
        if round == 0 {
            let isVerified = members.allSatisfy {
                missing.contains($0) || replies[$0]?.verification.isDone == true
            }
            if isVerified { beginRound(now) }
        } else if isComplete {
            // The last one that was waited for went away.
            endRound(now, into: &effects)
            return
        }
        ask(now, into: &effects)
    }

    private var isComplete: Bool {
        members.allSatisfy { missing.contains($0) || replies[$0] != nil }
    }

    private mutating func beginRound(_ now: Instant) {
        round += 1
        replies = [:]
        if settleBy == nil { settleBy = now + Self.settleMax }
    }

    private func ask(_ now: Instant, into effects: inout [Effect]) {
        for node in members where !missing.contains(node) {
            if round > 0, replies[node] != nil { continue }
            effects.append(
                .send(SurveyAsk(tag: tag, round: round, age: now - began + age), to: node))
        }
    }

    // MARK: - Rounds

    private mutating func endRound(_ now: Instant, into effects: inout [Effect]) {
        let lines = members.map { replies[$0]?.lines ?? [] }
        let isStill = lines == last
        last = lines
        let comparison = compare()
        let isQuiet = isStill && comparison.lagging.isEmpty && !isUnderWay
        if isQuiet || now >= settleBy ?? now {
            effects.append(.answer(.report(report(comparison, isQuiet: isQuiet))))
            return
        }
        beginRound(now)
        askAt = now + Self.repeatAfter
    }

    /// A batch that is bound and not yet counted everywhere makes the sums unequal.
    private var isUnderWay: Bool {
        members.contains { (replies[$0]?.unfinished ?? 0) > 0 }
    }

    private func compare() -> SurveyComparison {
        let table = Dictionary(uniqueKeysWithValues: zip(partitions, replicas))
        return SurveyComparison(
            members.map { (node: $0, reply: replies[$0]) }, partitions: partitions,
            replicas: { table[$0] ?? [] }, isBlind: isBlind)
    }

    private func conclude(into effects: inout [Effect]) {
        guard round > 0, isComplete else {
            let states = members.compactMap { replies[$0]?.verification }
            effects.append(
                .answer(
                    .verifying(
                        doneBytes: states.reduce(0) { $0 &+ $1.doneBytes },
                        totalBytes: states.reduce(0) { $0 &+ $1.totalBytes })))
            return
        }
        effects.append(.answer(.report(report(compare(), isQuiet: false))))
    }

    // MARK: - Report

    private func report(_ comparison: SurveyComparison, isQuiet: Bool) -> AuditReport {
        var differences = comparison.differences
        for node in members {
            guard let reply = replies[node], reply.verification.isDone else {
                let detail =
                    replies[node] == nil
                    ? "it cannot be reached: nothing is proved of what it holds"
                    : "it came while the audit ran: its files were not read"
                differences.append(
                    AuditDifference(kind: .unreachable, nodes: [node], detail: detail))
                continue
            }
            for finding in reply.findings { differences.append(Self.difference(finding, of: node)) }
        }
        var balance = AuditBalance(
            state: .moving, input: comparison.input, output: comparison.output)
        if isQuiet, members.allSatisfy({ replies[$0] != nil }) {
            let isEqual = balance.input.counted == balance.output
            balance.state = isEqual ? .equal : .different
            if !isEqual {
                differences.append(
                    AuditDifference(
                        kind: .inputOutput, nodes: [],
                        detail: "the batches say \(balance.input.counted) events were counted, "
                            + "the cells hold \(balance.output)"))
            }
        }
        let found = comparison.lagging
        return AuditReport(
            differences: differences, lagging: found.values.reduce(0, +),
            members: members.compactMap { node in
                replies[node].map { Self.member(node, $0, lagging: found[node] ?? 0) }
            }, balance: balance)
    }

    private static func member(
        _ node: NodeID, _ reply: SurveyReply, lagging: Int
    ) -> AuditMember {
        AuditMember(
            node: node, isSettled: reply.isSettled, tables: reply.verification.tables,
            verifiedBytes: reply.verification.totalBytes, partitions: reply.lines.count,
            lagging: lagging, healed: reply.healed, incidents: reply.incidents)
    }

    private static func difference(_ finding: AuditFinding, of node: NodeID) -> AuditDifference {
        let kind: AuditDifference.Kind =
            switch finding.kind {
            case .incident: .incident
            case .divergence: .divergence
            case .damage: .damage
            }
        return AuditDifference(
            kind: kind, nodes: [node] + (finding.peer.map { [$0] } ?? []),
            partition: finding.partition, detail: finding.detail)
    }
}
