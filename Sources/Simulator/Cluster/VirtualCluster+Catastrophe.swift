import Core
import NodeCore

/// Beyond the budget: several disks are lost at once, or nodes are gone for good. Nothing may be
/// wrong afterwards; what cannot be known is refused (L9).
extension VirtualCluster {
    /// Its number as an act; strikes are numbered from 1.
    static let catastropheNumber = 0

    func strikeHard() {
        guard !isHealed else { return }
        nemesisRandom = catastropheRandom
        guard schedule.allows(Self.catastropheNumber, .catastrophe) else { return }
        var order = nodes
        nemesisRandom.shuffle(&order)
        // At least one node stays as it is: with it the memory that there was more.
        let count = min(nodes.count - 1, max(2, nemesisRandom.below(nodes.count)))
        let victims = Array(order.prefix(count))
        trace.note(.nemesis, at: now, node: victims[0].index)
        begin(
            FaultAct(
                number: Self.catastropheNumber, at: now, fault: .catastrophe, node: victims[0].id))
        checks.hit(.catastrophe)
        for node in victims {
            let isRemembered = order[count...].contains { survivor in
                // What rotted may be set aside, and its memory with it.
                !survivor.isRotten && !survivor.isWiped
                    && survivor.shadow.incarnation(of: node.id) != .none
                    && survivor.shadow.incarnation(of: node.id)
                        >= node.shadow.incarnation(of: node.id)
            }
            if nemesisRandom.chance(2, in: 3), isRemembered, node.isUp {
                loseAll(node)
            } else {
                log("\(node.id) is gone for good")
                crash(node, "for good")
                node.isGone = true
            }
        }
    }
}
