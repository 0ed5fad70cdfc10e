import Core
import NodeCore
import Storage

/// Disks that are lost after their history was forgotten, and whole copies that are cut short: the
/// nemesis alone would rarely come at the right time.
extension VirtualCluster {
    /// Of the seeds that drew it, in the last part of the chaos; again until everybody votes.
    func wipeLate() {
        guard !isHealed, !schedule.without.contains(.wipes) else { return }
        guard mayLoseData, nodes.contains(where: { $0.shadow.base != .none }) else {
            put(.wipeLate, after: .milliseconds(300))
            return
        }
        loseAll(historyRandom.pick(nodes))
    }

    /// After everything is settled and sealed: a disk is lost, and what was on it comes back from
    /// the others, though no log has it any more.
    func restoreOne() throws(Violation) {
        guard swarm.restores, outsider == nil, !schedule.without.contains(.wipes) else { return }
        loseAll(historyRandom.pick(nodes))
    }

    /// Now and then one side of a copy dies in the middle of it.
    func maybeInterruptCopy(to node: VirtualNode) {
        guard swarm.copyInterruptions > interruptions, historyRandom.chance(2, in: 3) else {
            return
        }
        interruptions += 1
        let victim = historyRandom.chance(2, in: 3) ? node : historyRandom.pick(nodes)
        let latency = swarm.diskLatency + swarm.delaySpread
        put(
            .interruptCopy(node: victim.index),
            after: historyRandom.duration(below: .milliseconds(20) + latency * 30))
    }

    /// A copy is only hard while batches come in.
    func writeDuringCopy() {
        let latency = swarm.diskLatency + swarm.delaySpread
        for _ in 0..<Self.extraPerCopy where extras < Self.extraMax {
            extras += 1
            extrasOpen += 1
            put(
                .produceExtra,
                after: historyRandom.duration(below: .milliseconds(20) + latency * 20))
        }
    }

    private static let extraPerCopy = 8
    private static let extraMax = 32

    func interruptCopy(_ node: VirtualNode) {
        // Audits of a lie must find all nodes but the liar well.
        guard nodes.contains(where: \.isCopying), checks.lie == nil else { return }
        crash(node, "in the middle of a copy", isPowerCut: historyRandom.chance(1, in: 2))
    }
}
