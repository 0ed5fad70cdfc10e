import Core
import NodeCore
import Replication
import Ring
import Storage
import Wire

/// S3: whatever was answered as counted is on so many disks that no quorum of voters misses it.
extension VirtualCluster {
    /// At the moment of the answer, from the disks alone.
    func checkAcknowledged(_ number: Int, _ level: Consistency) throws(Violation) {
        checks.hit(.acknowledged)
        let content = ledger.contents[number]
        if level == .one {
            guard
                checks.wipes + checks.absences > 0
                    || nodes.contains(where: { $0.shadow.holdsRecord(content) })
                    || ledger.rivals(of: content.id).count > 1
            else { throw Violation("S3", "c\(number) is acknowledged at ONE, but on no disk") }
            return
        }
        try decide(number, "an acknowledgement")
        guard !checks.closedOut.contains(number) else {
            throw Violation("S15", "c\(number) is acknowledged, it was finally not counted")
        }
        try checkDisks(content, level)
    }

    /// Voters without the content, in every partition that it touches and in its home.
    private func checkDisks(_ content: Content, _ level: Consistency) throws(Violation) {
        for slice in content.record.slices {
            let missing = voters(slice.partition).filter {
                !$0.shadow.holds(content, slice.partition)
            }
            try check(content, missing, slice.partition, level, "")
        }
        let missing = voters(content.record.home).filter { !$0.shadow.holdsRecord(content) }
        try check(content, missing, content.record.home, .quorum, "as its home ")
    }

    private func check(
        _ content: Content, _ missing: [VirtualNode], _ partition: PartitionID,
        _ level: Consistency, _ role: String
    ) throws(Violation) {
        let replicas = ring.replicas(of: partition).count
        // Every R voters must contain a holder, so fewer than R may lack it.
        let quorum = Consistency.quorum.required(of: replicas)
        let allowed = level == .all && checks.wipes == 0 ? 0 : quorum - 1
        guard missing.count > allowed else { return }
        throw Violation(
            "S3",
            "c\(content.number) is acknowledged at \(level.name), but in \(partition) \(role)it is "
                + "not on the disks of " + missing.map(\.id.name).joined(separator: " "))
    }

    func voters(_ partition: PartitionID) -> [VirtualNode] {
        replicas[Int(partition.index)].compactMap { nodes[$0].isVoting ? nodes[$0] : nil }
    }

    /// At every inspection: on the disks, and shown by whoever answers quorum reads.
    func checkHoldings(_ audits: [NodeAudit?]) throws(Violation) {
        for number in ledger.acknowledged(at: .quorum).members {
            let content = ledger.contents[number]
            try checkDisks(content, .quorum)
            for slice in content.record.slices {
                let blind = voters(slice.partition).filter { node in
                    guard let audit = audits[node.index], audit.answersQuorum else {
                        return !node.shadow.holds(content, slice.partition)
                    }
                    return !audit.shows(content, slice.partition)
                }
                try check(content, blind, slice.partition, .quorum, "in memory ")
            }
        }
    }
}
