import Core
import NodeCore
import Replication

/// L6: where nothing was damaged, no audit ever finds anything; and in the end each node's audit of
/// the whole cluster is clean.
extension VirtualCluster {
    /// Nodes compare themselves all the time; what they report without a lie is a false alarm.
    func checkFinding(_ report: Report, of node: VirtualNode) throws(Violation) {
        // A file that rots is found, and is nobody else's fault.
        if case .damaged = report, node.maySeeRot { return }
        guard let lie = checks.lie else {
            throw Violation("L6", "\(node.id) reports \(report), and nothing was damaged")
        }
        try checks.lie?.note(
            report, by: node,
            forgets: swarm.forgetSegmentsMin != nil || swarm.release != nil,
            canBeOutvoted: swarm.replication >= 3)
        log("\(lie.description): \(node.id) says \(report)")
    }

    /// Asks every node for an audit of all, until each is clean and has seen input equal output.
    func auditEverything() throws(Violation) {
        let end = now + SimulatorLimits.convergenceMax
        checks.audited = []
        while checks.audited.count < nodes.count {
            guard now < end else {
                throw Violation("L6", "audits do not end: only \(checks.audited) of the nodes")
            }
            for node in nodes where !checks.audited.contains(node.index) {
                let isSent = call(
                    .audit(age: .zero), .audit, SimulatorLimits.auditPatience, through: node.index)
                guard isSent else { throw Violation("L6", "\(node.id) is down after the heal") }
            }
            while !workload.calls.isEmpty {
                guard now < end, try step() else { throw Violation("L2", "audits never end") }
            }
        }
        try checkLag()
    }

    func finishAudit(_ response: ClientResponse, _ node: Int) throws(Violation) {
        let name = nodes[node].id
        guard case .audit(.report(let report)) = response else {
            throw Violation("L6", "\(name) does not audit a healthy cluster: \(response)")
        }
        if let lie = checks.lie {
            // Before the nodes themselves have seen it, or behind it: never another one's name.
            for difference in report.differences where !lie.explains(difference) {
                throw Violation("L6", "\(name)'s audit blames another: \(difference)")
            }
            if !report.isClean { checks.lie?.isInAudit = true }
            return
        }
        guard report.isClean, report.lagging == 0 else {
            throw Violation(
                "L6",
                "\(name)'s audit: \(report.differences), \(report.lagging) lagging, "
                    + "and all hold the same")
        }
        if report.balance.state == .equal { checks.audited.insert(node) }
    }

    /// Every pairwise comparison, too, has come to see that all is equal.
    private func checkLag() throws(Violation) {
        let rounds = auditInterval * (nodes.count + 1)
        try run(until: now + rounds + .seconds(1))
        for node in nodes {
            guard let process = node.process else { continue }
            let view = process.core.view(at: clocks(of: node, process))
            for peer in view.audit.peers where peer.partitionsApart > 0 {
                throw Violation(
                    "L6",
                    "\(node.id) still sees \(peer.partitionsApart) partitions of \(peer.node) apart"
                )
            }
        }
    }

    var auditInterval: Duration { max(.milliseconds(200), swarm.catchUpInterval) }
}
