import Core
import NodeCore
import Ring
import Storage
import Wire

/// S1, S2, S5, S6 over everything that every running node believes.
extension VirtualCluster {
    func inspect() throws(Violation) {
        var audits: [NodeAudit?] = []
        for node in nodes {
            guard let process = node.process else {
                audits.append(nil)
                continue
            }
            // Copied once: each look into the process would copy it again.
            let core = process.core
            let audit = audit(node, process, core)
            note(audit, of: node)
            noteCounters(process)
            try checkHeld(audit, node)
            try checkFold(audit, node)
            try checkCells(audit, node, process, core)
            try checkSizes(node, core)
            try checkHistory(node, process, core)
            try checkVersions(audit, node, process)
            try checkIncidents(node, process)
            audits.append(audit)
        }
        try checkHoldings(audits)
        try checkAvailability()
    }

    func audit(_ node: VirtualNode, _ process: VirtualProcess) -> NodeAudit {
        audit(node, process, process.core)
    }

    private func audit(
        _ node: VirtualNode, _ process: VirtualProcess, _ core: NodeMachine
    ) -> NodeAudit {
        var audit = NodeAudit(core, at: clocks(of: node, process))
        let base = core.forgotten
        guard base != .none else { return audit }
        for (_, record) in decidedForms {
            let part = forgottenPart(of: record, by: base, node)
            guard part.home || !part.partitions.isEmpty else { continue }
            audit.add(forgotten: record, part.partitions, home: part.home)
        }
        return audit
    }

    func note(_ audit: NodeAudit, of node: VirtualNode) {
        node.isVoting = audit.isVoting
        if audit.isVoting { node.hasVoted = true }
        if audit.isVoting, node.isWiped {
            node.isWiped = false
            checks.hit(.recovered)
        }
    }

    /// S1: nothing is held that was not sent. S6: nothing is decided against a decision.
    private func checkHeld(_ audit: NodeAudit, _ node: VirtualNode) throws(Violation) {
        for held in audit.held {
            guard let number = ledger.number(of: held.hash),
                let record = ledger.record(held.id, held.hash)
            else { throw Violation("S1", "\(node.id) holds \(held.id), which nobody made") }
            guard held.rule == record.header.rule else {
                throw Violation("S1", "\(node.id) holds c\(number) under rules \(held.rule.number)")
            }
            guard ledger.submitted.contains(number) else {
                throw Violation("S1", "\(node.id) holds c\(number), which was never sent")
            }
            guard held.isBound || !held.applied.isEmpty else { continue }
            guard !ledger.renewed.contains(number) || held.id != ledger.contents[number].id else {
                throw Violation("S15", "\(node.id) counts c\(number), which was sealed anew")
            }
            try decide(number, node.id.name)
            guard !ledger.refused.contains(number), !checks.closedOut.contains(number) else {
                throw Violation("S15", "\(node.id) counts c\(number), finally not counted")
            }
        }
    }

    /// S2 and S5: both digests of each partition are the sums over the set that the node says it
    /// applied.
    private func checkFold(_ audit: NodeAudit, _ node: VirtualNode) throws(Violation) {
        var sets = Array(repeating: SetDigest.empty, count: swarm.partitions)
        var states = Array(repeating: StateDigest.zero, count: swarm.partitions)
        for held in audit.held {
            guard let number = ledger.number(of: held.hash) else { continue }
            let content = ledger.contents[number]
            for partition in held.applied {
                guard let slice = content.record.slice(of: partition) else {
                    throw Violation("S2", "\(node.id) applied c\(number) in \(partition)")
                }
                let term = SetDigest.term(held.id, slice.hash, key: Self.digestKey)
                sets[Int(partition.index)].insert(term)
                states[Int(partition.index)].merge(checks.state(content, partition))
            }
        }
        for index in 0..<swarm.partitions {
            guard audit.setDigests[index] == sets[index] else {
                throw Violation("S2", "\(node.id)'s digest of p\(index) is not that of its set")
            }
            guard audit.stateDigests[index] == states[index] else {
                throw Violation(
                    "S2",
                    "\(node.id)'s state of p\(index) is not the fold of its set"
                        + suspicion(audit, node, PartitionID(index), states[index]))
            }
        }
    }

    /// S2 cell by cell: memory and files of one key against the fold of the set, each time another
    /// key.
    private func checkCells(
        _ audit: NodeAudit, _ node: VirtualNode, _ process: VirtualProcess, _ core: NodeMachine
    ) throws(Violation) {
        let keys = ledger.keys
        guard !keys.isEmpty else { return }
        let key = keys[trace.events % keys.count]
        let queries = seriesQueries(key)
        let query = queries[trace.events / keys.count % queries.count]
        guard ring.partitions(of: node.id).contains(query.partition) else { return }
        // What rots is an error to whoever reads it, until it is found and set aside.
        guard !node.isRotten else { return }
        let held = core.heldRows(query)
        let job = StorageJob.series(query, held.snapshot, base: held.rows)
        guard case .success(.rows(let rows)) = process.runner.run(job) else {
            guard node.droppedRot == nil else { return }
            throw Violation("S2", "\(node.id) cannot read \(query)")
        }
        // Files have any form that the floor allows: by what is shown of them they are compared.
        let floor = core.durableFloor
        let expected = SeriesRow.shown(
            ledger.rows(of: query, in: audit.set(query.partition, ledger)), by: floor,
            ledger.buckets)
        guard SeriesRow.shown(rows, by: floor, ledger.buckets) == expected else {
            throw Violation("S2", "\(node.id)'s cells of \(query) are not the fold of its set")
        }
    }

    /// S11: nothing is larger than its limit.
    private func checkSizes(_ node: VirtualNode, _ core: NodeMachine) throws(Violation) {
        for (name, size, limit) in core.sizes where size > limit {
            throw Violation("S11", "\(node.id) has \(size) \(name), \(limit) are allowed")
        }
    }

    /// Which single content, once more or once less, would explain a wrong state.
    private func suspicion(
        _ audit: NodeAudit, _ node: VirtualNode, _ partition: PartitionID, _ expected: StateDigest
    ) -> String {
        let found = audit.stateDigests[Int(partition.index)]
        for content in ledger.contents {
            let state = checks.state(content, partition)
            guard state != .zero else { continue }
            var more = expected
            more.merge(state)
            if more == found { return ": c\(content.number) is in it once more (S5)" }
            var less = found
            less.merge(state)
            if less == expected { return ": c\(content.number) is missing from it" }
        }
        return ""
    }
}
