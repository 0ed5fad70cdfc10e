package import Core

/// The wires between nodes: whether and when a message arrives. Cuts are by direction, so that they
/// may be symmetric or not. Delays are drawn per message: whatever is sent at nearly the same time
/// arrives in any order.
package struct VirtualNetwork {
    /// One direction between two nodes.
    private struct Wire {
        var isCut = false
        /// What is sent before is held until then.
        var heldUntil = Instant.zero
        var lateness = Duration.zero
        var slowUntil = Instant.zero
    }

    package var lossPerMille: Int
    package var duplicatePerMille: Int
    package var delayMin: Duration
    package var delaySpread: Duration
    private let nodes: Int
    /// By `from * nodes + to`.
    private var wires: [Wire]
    private var random: RandomSource

    package init(_ swarm: Swarm, random: RandomSource) {
        nodes = swarm.nodes
        lossPerMille = swarm.lossPerMille
        duplicatePerMille = swarm.duplicatePerMille
        delayMin = swarm.delayMin
        delaySpread = swarm.delaySpread
        wires = Array(repeating: Wire(), count: nodes * nodes)
        self.random = random
    }

    /// When the copies of a message arrive: none where it is lost, two where it is duplicated.
    package mutating func arrivals(from: Int, to: Int, at now: Instant) -> [Instant] {
        if isCut(from: from, to: to) || random.chance(lossPerMille, in: 1000) { return [] }
        let wire = wires[from * nodes + to]
        var first = max(now, wire.heldUntil) + delay()
        if now < wire.slowUntil { first = first + wire.lateness }
        guard random.chance(duplicatePerMille, in: 1000) else { return [first] }
        return [first, first + delay()]
    }

    package mutating func delay() -> Duration {
        // Most messages are quick and few are slow, as on real wires.
        let spread =
            random.chance(1, in: 4) ? delaySpread : .nanoseconds(delaySpread.nanoseconds / 8)
        return delayMin + random.duration(below: spread)
    }

    package func isCut(from: Int, to: Int) -> Bool {
        wires[from * nodes + to].isCut
    }

    /// Whether anything is wrong with a wire of the node.
    package func isFaulty(_ node: Int, at now: Instant) -> Bool {
        (0..<nodes).contains { peer in
            [wires[node * nodes + peer], wires[peer * nodes + node]].contains {
                $0.isCut || $0.heldUntil > now || $0.slowUntil > now
            }
        }
    }

    package mutating func setCut(_ isCut: Bool, from: Int, to: Int) {
        wires[from * nodes + to].isCut = isCut
    }

    package mutating func hold(from: Int, to: Int, until end: Instant) {
        wires[from * nodes + to].heldUntil = max(wires[from * nodes + to].heldUntil, end)
    }

    package mutating func slow(from: Int, to: Int, by lateness: Duration, until end: Instant) {
        wires[from * nodes + to].lateness = lateness
        wires[from * nodes + to].slowUntil = end
    }

    /// Ends all faults of the network.
    package mutating func heal() {
        wires = Array(repeating: Wire(), count: wires.count)
        lossPerMille = 0
        duplicatePerMille = 0
        delaySpread = .milliseconds(2)
    }
}
