package import Core

/// The wires between nodes: whether and when a message arrives. Cuts are by direction, so that they
/// may be symmetric or not. Delays are drawn per message: whatever is sent at nearly the same time
/// arrives in any order.
package struct VirtualNetwork {
    package var lossPerMille: Int
    package var duplicatePerMille: Int
    package var delayMin: Duration
    package var delaySpread: Duration
    private let nodes: Int
    /// By `from * nodes + to`.
    private var cuts: [Bool]
    private var random: RandomSource

    package init(_ swarm: Swarm, random: RandomSource) {
        nodes = swarm.nodes
        lossPerMille = swarm.lossPerMille
        duplicatePerMille = swarm.duplicatePerMille
        delayMin = swarm.delayMin
        delaySpread = swarm.delaySpread
        cuts = Array(repeating: false, count: nodes * nodes)
        self.random = random
    }

    /// When the copies of a message arrive: none where it is lost, two where it is duplicated.
    package mutating func arrivals(from: Int, to: Int, at now: Instant) -> [Instant] {
        if isCut(from: from, to: to) || random.chance(lossPerMille, in: 1000) { return [] }
        let first = now + delay()
        guard random.chance(duplicatePerMille, in: 1000) else { return [first] }
        return [first, now + delay() + delay()]
    }

    package mutating func delay() -> Duration {
        // Most messages are quick and few are slow, as on real wires.
        let spread = random.chance(1, in: 4) ? delaySpread : delaySpread / 8
        return delayMin + random.duration(below: spread)
    }

    package func isCut(from: Int, to: Int) -> Bool {
        cuts[from * nodes + to]
    }

    package mutating func setCut(_ isCut: Bool, from: Int, to: Int) {
        cuts[from * nodes + to] = isCut
    }

    /// Ends all faults of the network.
    package mutating func heal() {
        cuts = Array(repeating: false, count: cuts.count)
        lossPerMille = 0
        duplicatePerMille = 0
        delaySpread = .milliseconds(2)
    }
}
