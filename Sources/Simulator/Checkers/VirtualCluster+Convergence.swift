import Core
import NodeCore
import Replication
import Ring
import Storage
import Wire

/// After the heal: L1 equal sets, L2 every call ended, L3 whole batches and nothing else, L4 every
/// replica answers the same exact numbers, L7 what a burst left is done soon, L8 a majority does
/// all that alone. L9, beyond the budget: whatever is answered is right.
extension VirtualCluster {
    /// The second phase.
    package func conclude() throws(Violation) {
        if swarm.budget == .beyond {
            try endure()
        } else {
            try converge()
        }
    }

    /// Waits until nothing moves any more, then asks everything of everybody.
    private func converge() throws(Violation) {
        try awaitAdmissible()
        try settle()
        try awaitSeals()
        try awaitParked()
        try settle()
        try welcomeBack()
        try restoreOne()
        try settle()
        if swarm.has(.zombies) {
            try raiseAll()
            try settle()
            try awaitSeals()
        }
        try inspect()
        let final = boundSet(core.compactMap { node in node.process.map { audit(node, $0) } })
        try checkPromises(final)
        checks.final = final
        try askEverything()
        // An audit without a node proves nothing of it.
        if outsider == nil { try auditEverything() }
    }

    /// Who was left out comes back, with what its disk held, and is one of them again.
    private func welcomeBack() throws(Violation) {
        guard let index = outsider, swarm.absenceMax != nil else { return }
        let node = nodes[index]
        log("\(node.id) comes back")
        network.heal()
        node.isGone = false
        outsider = nil
        if !node.isUp { put(.restart(node: index), after: .milliseconds(10)) }
        try settle()
        try awaitSeals()
        try awaitParked()
        try settle()
    }

    func settle() throws(Violation) {
        let begin = now
        while let reason = try unsettled() {
            guard now < begin + SimulatorLimits.convergenceMax else {
                guard outsider != nil else { throw reason }
                throw Violation("L8", "a majority alone: \(reason)")
            }
            // A copy makes batches late, and their producers may come back later still: these have
            // as long from when they do.
            let since = max(begin, openEfforts.map(\.since).min() ?? begin)
            if reason.invariant == "L2", swarm.has(.bursts),
                now > since + SimulatorLimits.overloadMax
            {
                throw Violation("L7", "after the overload: \(reason.detail)")
            }
            try run(until: now + .milliseconds(250))
        }
    }

    /// Half of all producers come back long after everything is settled.
    private func raiseAll() throws(Violation) {
        let counted = boundSet(core.compactMap { node in node.process.map { audit(node, $0) } })
        for number in ledger.submitted.members where workload.random.chance(1, in: 2) {
            let delay = Duration.milliseconds(1000 + workload.random.below(4000))
            // What was sealed anew counts under another id.
            let isKept = counted.contains(number) && !ledger.renewed.contains(number)
            raise(number, after: delay, mustBeCounted: isKept)
        }
    }

    /// L9: more was lost than can be borne. Every answer is held against what it must and may
    /// contain, as at any other time; that there is one is not promised.
    private func endure() throws(Violation) {
        try run(until: now + SimulatorLimits.enduranceMax)
        try inspect()
        try askEverything()
        try inspect()
    }

    /// Efforts that the nodes which are there can fulfil.
    private var openEfforts: [Workload.Effort] {
        workload.openEfforts.filter { outsider == nil || $0.level != .all }
    }

    /// Why the cluster has not converged yet; nil when it has.
    private func unsettled() throws(Violation) -> Violation? {
        if extrasOpen > 0 { return Violation("L2", "batches are still to be made") }
        if let effort = openEfforts.first {
            return Violation("L2", "the producer of c\(effort.content) never learnt its outcome")
        }
        if outsider == nil, let call = workload.calls.keys.min() {
            return Violation("L2", "request \(call.number) is still open")
        }
        let names = Set(core.map(\.id))
        var audits: [NodeID: NodeAudit] = [:]
        for node in core {
            guard let process = node.process else {
                return Violation("L1", "\(node.id) does not run")
            }
            guard process.pausedUntil <= now else {
                return Violation("L1", "\(node.id) is still paused")
            }
            let audit = audit(node, process)
            note(audit, of: node)
            guard audit.isVoting else { return Violation("L1", "\(node.id) does not vote") }
            // Who was paused meanwhile votes in a life that is over, until it hears of it.
            guard !node.isLeftOut else {
                return Violation("L1", "\(node.id) is left out and has not begun anew")
            }
            guard audit.up == names else {
                return Violation("L1", "\(node.id) does not see who is up")
            }
            if node.isRotten {
                // No later start or edit may tell that a file was replaced.
                let core = process.core
                node.forgetRot(unlessListed: core.tablePaths + core.historyFiles.map(\.path))
            }
            guard !node.isRotten else {
                return Violation("L6", "\(node.id) has not found what rotted on its disk")
            }
            guard audit.answersQuorum else {
                return Violation("L1", "\(node.id) still holds batches in doubt")
            }
            if let parked = stillParked(node, process) { return parked }
            guard outsider != nil || !process.core.mayBeLeavingOut else {
                return Violation("L1", "\(node.id) has not decided who is left out")
            }
            audits[node.id] = audit
        }
        for partition in ring.partitioning.all {
            if let difference = differs(partition, audits) { return difference }
        }
        return unfinished(boundSet(audits.values.sorted { $0.node < $1.node }), audits)
    }

    /// Every content whose home record is bound.
    private func boundSet(_ audits: [NodeAudit]) -> ContentSet {
        var bound = ContentSet()
        for audit in audits {
            for partition in ring.partitions(of: audit.node) {
                bound.formUnion(audit.homeSet(partition, ring, ledger).bound)
            }
        }
        return bound
    }

    /// L3: what is bound is applied whole, and nothing else is.
    private func unfinished(_ bound: ContentSet, _ audits: [NodeID: NodeAudit]) -> Violation? {
        for partition in ring.partitioning.all {
            guard let audit = replicas(of: partition).first.flatMap({ audits[$0] }) else {
                continue
            }
            let expected = ContentSet(
                bound.members.filter { ledger.contents[$0].record.slice(of: partition) != nil })
            let found = audit.set(partition, ledger)
            guard found.members == expected.members else {
                return Violation(
                    "L3", "\(partition) counts \(found), bound and touching it are \(expected)")
            }
        }
        return nil
    }

    /// Those that must be right in the end.
    private func replicas(of partition: PartitionID) -> [NodeID] {
        ring.replicas(of: partition).filter { index(of: $0) != outsider }
    }

    /// L1 for one partition: the same slices and the same bound home records on all its replicas.
    private func differs(
        _ partition: PartitionID, _ audits: [NodeID: NodeAudit]
    ) -> Violation? {
        let here = replicas(of: partition).compactMap { audits[$0] }
        guard let first = here.first else { return nil }
        let applied = first.set(partition, ledger)
        let home = first.homeSet(partition, ring, ledger)
        for audit in here {
            let set = audit.set(partition, ledger)
            if set.members != applied.members {
                return Violation(
                    "L1",
                    "\(audit.node) has \(set) in \(partition), \(first.node) has \(applied)")
            }
            let held = audit.homeSet(partition, ring, ledger)
            if held.bound.members != home.bound.members {
                return Violation(
                    "L1",
                    "\(audit.node) is home to \(held.bound) in \(partition), "
                        + "\(first.node) to \(home.bound)")
            }
            if let lone = held.unbound.members.first {
                return Violation("L1", "\(audit.node) holds c\(lone), which nobody binds")
            }
            if audit.stateDigests[Int(partition.index)]
                != first.stateDigests[Int(partition.index)]
            {
                return Violation("L1", "\(audit.node) has another state of \(partition)")
            }
        }
        return nil
    }

    /// L3: the answers that clients got were true.
    private func checkPromises(_ final: ContentSet) throws(Violation) {
        let lost = ledger.acknowledged(at: .quorum).subtracting(final)
        guard lost.isEmpty else { throw Violation("L3", "\(lost) were acknowledged and are lost") }
        let denied = ledger.confirmed.subtracting(final)
        guard denied.isEmpty else { throw Violation("L3", "\(denied) were said to be counted") }
        let phantoms = final.subtracting(ledger.submitted)
        guard phantoms.isEmpty else { throw Violation("S1", "\(phantoms) were never sent") }
        let refused = final.intersection(ledger.refused)
        guard refused.isEmpty else { throw Violation("S15", "\(refused) were refused, and count") }
        let closedOut = final.intersection(checks.closedOut)
        guard closedOut.isEmpty else {
            throw Violation("S15", "\(closedOut) were finally not counted, and count")
        }
        if let twice = ledger.countedTwice(in: final) {
            throw Violation("S15", "the events of c\(twice) count under two ids")
        }
        try checkParkedPromises(final)
        for number in ledger.refused.members {
            let rivals = ContentSet(ledger.rivals(of: ledger.contents[number].id))
            guard !rivals.intersection(final).isEmpty else {
                throw Violation("L3", "c\(number) was refused, but no content of its id counts")
            }
        }
        // One durable copy is not protected against the loss of its disk, nor against a rival.
        guard checks.wipes + checks.absences == 0, outsider == nil else { return }
        for number in ledger.acknowledged(at: .one).subtracting(final).members {
            guard ledger.rivals(of: ledger.contents[number].id).count > 1 else {
                throw Violation("L3", "c\(number) was acknowledged at ONE and is lost")
            }
        }
    }

    // MARK: - L4

    /// Each key through each node at ONE and at QUORUM, and the lists.
    private func askEverything() throws(Violation) {
        let all = PartitionSet()
        for node in core {
            for level in [Consistency.one, .quorum] {
                for query in ledger.keys.flatMap({ seriesQueries($0) }) {
                    try askFinally(.series(query), level, node)
                }
                try askFinally(
                    .scan(ScanSpec(partitions: all, output: .types), top: nil), level, node)
                try askFinally(
                    .scan(
                        ScanSpec(partitions: all, output: .totalsByKey),
                        top: TopSpec(k: 1000, order: .count)), level, node)
                try askFinally(.deadLetters(DeadLetterQuery(limit: 10_000)), level, node)
            }
        }
        for content in ledger.contents {
            try awaitCalls(fewerThan: swarm.sessionsMax)
            let node = clientRandom.pick(core)
            let ask = ClientRequest.status(
                content.id, createdAt: content.record.header.createdAt)
            _ = call(
                ask, .status(content: content.number, reader: nil), swarm.requestTimeout,
                through: node.index)
        }
        try awaitCalls(fewerThan: 1)
    }

    /// Fewer questions at once than a coordinator takes. Writes are open here only where too much
    /// was lost: there producers try for ever, and to wait until theirs are few too would take a
    /// whole timeout for each question.
    private func awaitCalls(fewerThan count: Int) throws(Violation) {
        let end = now + swarm.requestTimeout * 2 + SimulatorLimits.callGrace * 2
        let own = workload.nextRequest
        while workload.calls.count(where: { $0.key.number <= own && !$0.value.isWrite }) >= count {
            guard now < end, try step() else { throw Violation("L2", "final calls never end") }
        }
    }

    private func askFinally(
        _ query: ReadQuery, _ level: Consistency, _ node: VirtualNode
    ) throws(Violation) {
        try awaitCalls(fewerThan: swarm.sessionsMax)
        let isSent = read(
            query, level, swarm.requestTimeout, reader: nil, through: node.index)
        guard isSent || swarm.budget == .beyond else {
            throw Violation("L4", "\(node.id) is down after the heal")
        }
    }
}

extension NodeAudit {
    /// What the node has applied in a partition.
    func set(_ partition: PartitionID, _ ledger: Ledger) -> ContentSet {
        ContentSet(
            held.filter { $0.applied.contains(partition) }.compactMap { ledger.number(of: $0.hash) }
        )
    }

    /// The home records that the node holds as a voter of a home.
    func homeSet(
        _ partition: PartitionID, _ ring: RingView, _ ledger: Ledger
    ) -> (bound: ContentSet, unbound: ContentSet) {
        let here = held.filter { $0.hasRecord && ring.home(of: $0.id) == partition }
        let bound = here.filter(\.isBound).compactMap { ledger.number(of: $0.hash) }
        let unbound = here.filter { !$0.isBound }.compactMap { ledger.number(of: $0.hash) }
        return (ContentSet(bound), ContentSet(unbound))
    }
}
