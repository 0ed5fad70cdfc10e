import Core
import NodeCore
import Replication
import Ring
import Storage
import Wire

/// After the heal: L1 equal sets, L2 every call ended, L3 whole batches and nothing else, L4 every
/// replica answers the same exact numbers.
extension VirtualCluster {
    /// The second phase: waits until nothing moves any more, then asks everything of everybody.
    package func converge() throws(Violation) {
        let end = now + SimulatorLimits.convergenceMax
        while let reason = try unsettled() {
            guard now < end else { throw reason }
            try run(until: now + .milliseconds(250))
        }
        try awaitSeals()
        try awaitParked()
        let settled = now + SimulatorLimits.convergenceMax
        while let reason = try unsettled() {
            guard now < settled else { throw reason }
            try run(until: now + .milliseconds(250))
        }
        try inspect()
        let final = boundSet(nodes.compactMap { node in node.process.map { audit(node, $0) } })
        try checkPromises(final)
        checks.final = final
        try askEverything()
        try auditEverything()
    }

    /// Why the cluster has not converged yet; nil when it has.
    private func unsettled() throws(Violation) -> Violation? {
        if let effort = workload.openEfforts.first {
            return Violation("L2", "the producer of c\(effort.content) never learnt its outcome")
        }
        if let call = workload.calls.keys.min() {
            return Violation("L2", "request \(call.number) is still open")
        }
        var audits: [NodeAudit] = []
        for node in nodes {
            guard let process = node.process else {
                return Violation("L1", "\(node.id) does not run")
            }
            guard process.pausedUntil <= now else {
                return Violation("L1", "\(node.id) is still paused")
            }
            let audit = audit(node, process)
            note(audit, of: node)
            guard audit.isVoting else { return Violation("L1", "\(node.id) does not vote") }
            guard audit.seesAll else {
                return Violation("L1", "\(node.id) does not see everybody up")
            }
            guard audit.answersQuorum else {
                return Violation("L1", "\(node.id) still holds batches in doubt")
            }
            if let parked = stillParked(node, process) { return parked }
            audits.append(audit)
        }
        for partition in ring.partitioning.all {
            if let difference = differs(partition, audits) { return difference }
        }
        return unfinished(boundSet(audits), audits)
    }

    /// Every content whose home record is bound.
    private func boundSet(_ audits: [NodeAudit]) -> ContentSet {
        var bound = ContentSet()
        for partition in ring.partitioning.all {
            let home = index(of: ring.replicas(of: partition)[0])
            bound.formUnion(audits[home].homeSet(partition, ring, ledger).bound)
        }
        return bound
    }

    /// L3: what is bound is applied whole, and nothing else is.
    private func unfinished(_ bound: ContentSet, _ audits: [NodeAudit]) -> Violation? {
        for partition in ring.partitioning.all {
            let replica = index(of: ring.replicas(of: partition)[0])
            let expected = ContentSet(
                bound.members.filter { ledger.contents[$0].record.slice(of: partition) != nil })
            let found = audits[replica].set(partition, ledger)
            guard found.members == expected.members else {
                return Violation(
                    "L3", "\(partition) counts \(found), bound and touching it are \(expected)")
            }
        }
        return nil
    }

    /// L1 for one partition: the same slices and the same bound home records on all its replicas.
    private func differs(_ partition: PartitionID, _ audits: [NodeAudit]) -> Violation? {
        let replicas = ring.replicas(of: partition).map { index(of: $0) }
        let applied = replicas.map { audits[$0].set(partition, ledger) }
        let homes = replicas.map { audits[$0].homeSet(partition, ring, ledger) }
        for (place, replica) in replicas.enumerated() {
            if applied[place].members != applied[0].members {
                return Violation(
                    "L1",
                    "\(nodes[replica].id) has \(applied[place]) in \(partition), "
                        + "\(nodes[replicas[0]].id) has \(applied[0])")
            }
            if homes[place].bound.members != homes[0].bound.members {
                return Violation(
                    "L1",
                    "\(nodes[replica].id) is home to \(homes[place].bound) in \(partition), "
                        + "\(nodes[replicas[0]].id) to \(homes[0].bound)")
            }
            if let lone = homes[place].unbound.members.first {
                return Violation(
                    "L1", "\(nodes[replica].id) holds c\(lone), which nobody binds")
            }
            let left = replicas[place]
            if audits[left].stateDigests[Int(partition.index)]
                != audits[replicas[0]].stateDigests[Int(partition.index)]
            {
                return Violation("L1", "\(nodes[left].id) has another state of \(partition)")
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
        try checkParkedPromises(final)
        for number in ledger.refused.members {
            let rivals = ContentSet(ledger.rivals(of: ledger.contents[number].id))
            guard !rivals.intersection(final).isEmpty else {
                throw Violation("L3", "c\(number) was refused, but no content of its id counts")
            }
        }
        // One durable copy is not protected against the loss of its disk, nor against a rival.
        guard checks.wipes == 0 else { return }
        for number in ledger.acknowledged(at: .one).subtracting(final).members {
            guard ledger.rivals(of: ledger.contents[number].id).count > 1 else {
                throw Violation("L3", "c\(number) was acknowledged at ONE and is lost")
            }
        }
    }

    // MARK: - L4

    /// Each key through each node at ONE and at QUORUM, and the lists.
    private func askEverything() throws(Violation) {
        for node in nodes {
            for level in [Consistency.one, .quorum] {
                for key in ledger.keys {
                    try askFinally(.series(seriesQuery(key)), level, node.index)
                }
                let all = PartitionSet()
                try askFinally(
                    .scan(ScanSpec(partitions: all, output: .types), top: nil), level, node.index)
                try askFinally(
                    .scan(
                        ScanSpec(partitions: all, output: .totalsByKey),
                        top: TopSpec(k: 1000, order: .count)), level, node.index)
                try askFinally(
                    .deadLetters(DeadLetterQuery(limit: 10_000)), level, node.index)
            }
        }
        for content in ledger.contents {
            let node = clientRandom.below(nodes.count)
            let ask = ClientRequest.status(
                content.id, createdAt: content.record.header.createdAt)
            _ = call(
                ask, .status(content: content.number, reader: nil), swarm.requestTimeout,
                through: node)
        }
        let end = now + swarm.requestTimeout * 2 + SimulatorLimits.callGrace * 2
        while !workload.calls.isEmpty {
            guard now < end, try step() else { throw Violation("L2", "final calls never end") }
        }
    }

    private func askFinally(
        _ query: ReadQuery, _ level: Consistency, _ node: Int
    ) throws(Violation) {
        guard read(query, level, swarm.requestTimeout, reader: nil, through: node) else {
            throw Violation("L4", "\(nodes[node].id) is down after the heal")
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
