import Core
import NodeCore
import Replication
import Ring
import Storage
import Wire

/// S7 and S15 for segments: what is closed is decided for good, what is sealed is on all replicas,
/// and what a node tells of it is on its disk.
extension VirtualCluster {
    /// The node says that its homes have decided everything below: what its disk holds counts, and
    /// what it does not hold never will.
    func checkClosed(_ below: Segment, _ node: VirtualNode) throws(Violation) {
        checks.hit(.closed)
        let homes = ring.partitions(of: node.id)
        for content in ledger.contents
        where segment(of: content) < below && homes.contains(content.record.home)
            && !ledger.renewed.contains(content.number)
        {
            if node.shadow.holdsRecord(content) {
                try decide(content.number, "\(node.id)'s closed segment")
            } else {
                try finallyNotCounted(content.number, "\(node.id) closes its segment without it")
            }
        }
    }

    /// The node says that the replicas of its partitions hold the same below: then all hold all
    /// that was decided.
    func checkSealed(
        _ below: Segment, _ node: VirtualNode, _ agreed: [NodeID]
    ) throws(Violation) {
        checks.hit(.sealed)
        let partitions = ring.partitions(of: node.id)
        for content in ledger.contents
        where segment(of: content) < below && isDecided(content.number)
            && !ledger.renewed.contains(content.number)
        {
            for slice in content.record.slices where partitions.contains(slice.partition) {
                for replica in ring.replicas(of: slice.partition).map({ nodes[index(of: $0)] }) {
                    // It may have lost its disk after it agreed.
                    let agreedAt = replica.agreedAt[node.index] ?? .zero
                    if let lost = replica.wipedAt, agreedAt <= lost { continue }
                    guard replica.index == node.index || agreed.contains(replica.id) else {
                        continue
                    }
                    guard !replica.shadow.holds(content, slice.partition) else { continue }
                    throw Violation(
                        "S7",
                        "\(node.id) seals segments below \(below), but \(replica.id) does not hold "
                            + "c\(content.number) in \(slice.partition)")
                }
            }
        }
    }

    /// Nobody is left out: one that is away or recovers may hold what the others lack, or lack what
    /// they are about to forget. But for those of whom the disks of all who agree say that their
    /// life is over.
    func checkAgreed(
        _ agreed: [NodeID], _ node: VirtualNode, _ what: String
    ) throws(Violation) {
        let mine = ring.partitions(of: node.id)
        for other in nodes where other.index != node.index && !agreed.contains(other.id) {
            let shared = ring.partitions(of: other.id).intersection(mine)
            if shared.isEmpty { continue }
            let known = ([node] + agreed.map { nodes[index(of: $0)] }).allSatisfy {
                $0.shadow.hasLeftOut(other.id)
            }
            let isEnough = shared.allSatisfy { partition in
                let voters = ring.replicas(of: partition)
                let present = voters.count { $0 == node.id || agreed.contains($0) }
                return present >= Consistency.quorum.required(of: voters.count)
            }
            guard known, isEnough else {
                throw Violation("S7", "\(node.id) \(what) segments without \(other.id)")
            }
            checks.hit(.closedWithout)
        }
    }

    /// `life`: the one that it must begin. What that one holds is beyond doubt.
    func noteLeftOut(
        _ node: VirtualNode, _ life: Incarnation, by other: VirtualNode
    ) throws(Violation) {
        guard swarm.absenceMax != nil else {
            throw Violation("S7", "\(other.id) leaves \(node.id) out, and may not")
        }
        checks.hit(.leftOut)
        checks.absences += 1
        log("\(other.id) leaves \(node.id) out")
        if node.shadow.incarnation(of: node.id) < life { node.mustBegin = life }
    }

    /// What a node tells of its freeze must survive its crash.
    func checkFreeze(_ reply: CloseReply, of node: VirtualNode) throws(Violation) {
        guard reply.frozen <= node.shadow.frozen else {
            throw Violation(
                "S7",
                "\(node.id) says that it is frozen below \(reply.frozen), on its disk it is "
                    + "\(node.shadow.frozen)")
        }
    }

    /// S15: said once, it holds for ever.
    func finallyNotCounted(_ number: Int, _ why: String) throws(Violation) {
        checks.hit(.finallyNotCounted)
        // What was sealed anew counts under another id.
        guard !ledger.renewed.contains(number) else { return }
        checks.closedOut.insert(number)
        guard !isDecided(number) else {
            throw Violation("S15", "\(why): c\(number), which was decided")
        }
        guard !ledger.acknowledged(at: .quorum).contains(number), !ledger.confirmed.contains(number)
        else { throw Violation("S15", "\(why): c\(number), which was said to be counted") }
    }

    func segment(of content: Content) -> Segment {
        Segment(createdAt: content.record.header.createdAt, length: swarm.segmentLength)
    }

    // MARK: - After the heal

    /// What keeps nodes from closing.
    private func unready(_ segment: Segment) -> String {
        var text = ""
        for node in nodes {
            guard let process = node.process else { continue }
            let held = audit(node, process).held.filter { held in
                guard let number = ledger.number(of: held.hash) else { return false }
                return held.hasRecord && (!held.isBound || !held.isFinished)
                    && self.segment(of: ledger.contents[number]) <= segment
            }
            let names = held.compactMap { ledger.number(of: $0.hash) }.map { "c\($0)" }
            text += "; \(node.id): closed \(node.closed), sealed \(node.sealed), open \(names)"
        }
        return text
    }

    /// With a short horizon the run goes on until everything that was sealed in it is decided.
    func awaitSeals() throws(Violation) {
        // Who is away keeps segments open, until much later.
        guard swarm.horizon < SimulatorLimits.horizonAwaited,
            outsider == nil || swarm.absenceMax != nil
        else { return }
        let last = ledger.contents.map { segment(of: $0) }.filter {
            $0 <= Segment(createdAt: wall, length: swarm.segmentLength)
        }.max()
        guard let last else { return }
        let age = swarm.horizon + swarm.requestTimeout + swarm.clockSkewMax * 4
        let end =
            now + age + swarm.segmentLength * 2 + SimulatorLimits.convergenceMax
            + (swarm.absenceMax ?? .zero)
        while let late = core.first(where: { $0.sealed <= last }) {
            guard now < end else {
                throw Violation(
                    "L1",
                    "\(late.id) has closed below \(late.closed) and sealed below \(late.sealed), "
                        + "segment \(last) has passed" + unready(late.closed))
            }
            try run(until: now + .milliseconds(500))
        }
    }
}
