import Core
import NodeCore

/// The faults of the network, and of a node that is merely slow.
extension VirtualCluster {
    /// One node or one pair, one direction or both.
    func cut(_ node: VirtualNode) {
        let length = Duration.milliseconds(200 + nemesisRandom.below(7000))
        let direction = nemesisRandom.below(4)
        let isLonely = nemesisRandom.chance(1, in: 2)
        let other = nemesisRandom.pick(nodes)
        checks.hit(.cut)
        for peer in nodes where peer.index != node.index {
            guard isLonely || peer.index == other.index else { continue }
            if direction != 1 { sever(node, peer, length) }
            if direction != 0 { sever(peer, node, length) }
        }
    }

    /// Each direction of each pair is dead with the same chance, for long: who hears whom is no
    /// longer symmetric nor transitive.
    func cutPartly() {
        let length = Duration.milliseconds(4000 + nemesisRandom.below(8000))
        let chance = 1 + nemesisRandom.below(3)
        checks.hit(.partialCut)
        for from in nodes {
            for to in nodes where to.index != from.index {
                if nemesisRandom.chance(chance, in: 5) { sever(from, to, length) }
            }
        }
    }

    /// One node hears nothing for a while. Then another loses its disk, and can reach that one
    /// alone: what both would vote for lacks what was counted meanwhile.
    func wipeBehindLag(_ node: VirtualNode) {
        let others = nodes.filter { $0.index != node.index }
        let behind = nemesisRandom.pick(others)
        let length = Duration.milliseconds(500 + nemesisRandom.below(2500))
        let apart = Duration.milliseconds(3000 + nemesisRandom.below(5000))
        isolate([behind.index], length)
        put(.wipeBehindLag(node: node.index, behind: behind.index, apart: apart), after: length)
    }

    func wipe(_ node: VirtualNode, behind: Int, apart: Duration) {
        guard !isHealed, mayLoseData else { return }
        checks.hit(.wipeBehindLag)
        loseAll(node)
        isolate([node.index, behind], apart)
    }

    /// These hear each other and nobody else.
    private func isolate(_ island: Set<Int>, _ length: Duration) {
        checks.hit(.cut)
        for from in nodes where island.contains(from.index) {
            for to in nodes where !island.contains(to.index) {
                sever(from, to, length)
                sever(to, from, length)
            }
        }
    }

    private func sever(_ from: VirtualNode, _ to: VirtualNode, _ length: Duration) {
        log("cut: \(from.id) ⇢ \(to.id) for \(length)")
        network.setCut(true, from: from.index, to: to.index)
        put(.mend(from: from.index, to: to.index), after: length)
        watchIdle(from, to: to.index)
        watchIdle(to, to: from.index)
    }

    /// Some nodes fall silent, one after the other; then they are heard again, in another order.
    /// Nothing is lost: what was sent meanwhile comes all at once.
    func swizzle() {
        var chosen = nodes
        nemesisRandom.shuffle(&chosen)
        chosen = Array(chosen.prefix(1 + nemesisRandom.below(nodes.count)))
        let step = Duration.milliseconds(20 + nemesisRandom.below(600))
        var order = Array(chosen.indices)
        nemesisRandom.shuffle(&order)
        checks.hit(.swizzle)
        for (place, node) in chosen.enumerated() {
            let begin = step * place
            let end = step * (chosen.count + order[place] + 1)
            put(.clog(node: node.index, until: now + end), after: begin)
        }
    }

    func clog(_ node: Int, until end: Instant) {
        guard !isHealed else { return }
        log("\(nodes[node].id) is silent until \((end - .zero).milliseconds) ms")
        for peer in nodes.indices where peer != node {
            network.hold(from: node, to: peer, until: end)
            network.hold(from: peer, to: node, until: end)
        }
    }

    /// One wire, one direction, is slow for a while.
    func slowLink(_ node: VirtualNode) {
        let peer = nemesisRandom.pick(nodes)
        let length = Duration.milliseconds(2000 + nemesisRandom.below(8000))
        let lateness = Duration.milliseconds(nemesisRandom.pick([30, 150, 600]))
        guard peer.index != node.index else { return }
        log("\(node.id) ⇢ \(peer.id) is \(lateness) slower for \(length)")
        checks.hit(.slowLink)
        network.slow(from: node.index, to: peer.index, by: lateness, until: now + length)
    }

    /// Whatever happens to the node happens late: messages, disk, timers, clients.
    func slowDown(_ node: VirtualNode) {
        node.lateness = .milliseconds(nemesisRandom.pick([10, 60, 250]))
        node.slowUntil = now + .milliseconds(1000 + nemesisRandom.below(8000))
        log("\(node.id) is \(node.lateness) late with everything")
        checks.hit(.slowNode)
    }
}
