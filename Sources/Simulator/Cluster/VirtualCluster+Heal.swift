import Core
import NodeCore

/// The end of the faults.
extension VirtualCluster {
    /// Ends all faults for good: every node runs, every wire works. In some seeds only a majority
    /// is healed: one node stays down, or cut off.
    package func heal() throws(Violation) {
        log("everything is healed")
        isHealed = true
        network.heal()
        // Pauses run out by themselves: what they delayed is in the queue already.
        for node in nodes {
            node.slowUntil = .zero
            node.skew = node.skewAtRest
            freeDisk(node)
        }
        chooseOutsider()
        for node in nodes where !node.isUp {
            put(.restart(node: node.index), after: .milliseconds(10))
        }
    }

    /// The nodes that must be right in the end.
    var core: [VirtualNode] { nodes.filter { $0.index != outsider } }

    private func chooseOutsider() {
        // A node that never voted cannot begin without all others, and an empty disk is restored
        // from both others: it must be the one that is left out.
        let isDoubtful = { (node: VirtualNode) in
            node.isWiped || node.isRotten || node.isLeftOut
        }
        guard swarm.healsCore, nodes.allSatisfy(\.hasVoted), nodes.count(where: isDoubtful) <= 1
        else { return }
        nemesisRandom = scheduleRandom.fork()
        let node = nodes.first(where: isDoubtful) ?? nemesisRandom.pick(nodes)
        outsider = node.index
        checks.hit(.coreHealed)
        if nemesisRandom.chance(1, in: 2) {
            log("\(node.id) stays down")
            crash(node, "for good")
            node.isGone = true
        } else {
            log("\(node.id) stays cut off")
            for peer in nodes where peer.index != node.index {
                network.setCut(true, from: node.index, to: peer.index)
                network.setCut(true, from: peer.index, to: node.index)
                watchIdle(node, to: peer.index)
                watchIdle(peer, to: node.index)
            }
        }
    }
}
