import Core
import NodeCore
import Replication

/// The budget of faults, and what is promised while it holds: with one faulty node at a time, a
/// client that retries through one node after the other gets through in a stated time (A1).
extension VirtualCluster {
    /// Whether the nemesis may do something to this node now.
    func mayTouch(_ node: VirtualNode) -> Bool {
        guard swarm.budget == .oneNode else { return true }
        observeHealth()
        if victim == node.index { return true }
        guard let well = wellSince, now >= well + SimulatorLimits.budgetRest else { return false }
        victim = node.index
        wellSince = nil
        return true
    }

    /// Looked at again and again: since when nothing at all is wrong.
    func observeHealth() {
        if nodes.contains(where: isFaulty) {
            wellSince = nil
            return
        }
        if wellSince == nil { wellSince = now }
        if readySince == nil { readySince = now }
    }

    private func isFaulty(_ node: VirtualNode) -> Bool {
        guard let process = node.process, process.pausedUntil <= now, node.slowUntil <= now
        else { return true }
        let isConnected = nodes.indices.allSatisfy { peer in
            peer == node.index || process.links[peer] == nodes[peer].process?.instance
        }
        return !isConnected || !process.core.isVotingOnReads
            || network.isFaulty(node.index, at: now)
    }

    /// A1, at every inspection.
    func checkAvailability() throws(Violation) {
        guard swarm.budget == .oneNode, !isHealed else { return }
        observeHealth()
        guard let readySince else { return }
        let patience = SimulatorLimits.availabilityMax(swarm.requestTimeout)
        for effort in workload.efforts where isOwed(effort) {
            let since = max(effort.since, readySince)
            guard now <= since + patience else {
                throw Violation(
                    "A1",
                    "c\(effort.content) is not counted \(now - since) after it was first sent, "
                        + "with one faulty node at a time")
            }
        }
        for (reader, denied) in workload.deniedSince.enumerated() {
            guard let denied, now > max(denied, readySince) + patience else { continue }
            throw Violation(
                "A1",
                "reader \(reader) gets no answer at QUORUM for \(now - max(denied, readySince)), "
                    + "with one faulty node at a time")
        }
    }

    /// Only what a majority can do, for a client that does not give up.
    private func isOwed(_ effort: Workload.Effort) -> Bool {
        // Of contents of one id each home voter may hold another: then all are needed.
        !effort.isOver && effort.level != .all && effort.patience == .max
            && ledger.rivals(of: ledger.contents[effort.content].id).count == 1
    }
}
