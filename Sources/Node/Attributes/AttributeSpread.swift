package import Core

/// Decides whom to ask for changes, and when. A value without a clock.
package struct AttributeSpread: Sendable {
    private let peers: [NodeID]
    private var turn = 0
    /// Peers that said something is new, in the order in which they said it.
    private var nudged: [NodeID] = []
    /// Questions under way and when they were asked.
    private var asked: [NodeID: Instant] = [:]
    private var nextTurn: Instant

    package init(peers: [NodeID], now: Instant) {
        self.peers = peers.sorted()
        nextTurn = now
    }

    /// The next moment at which `due` may have somebody.
    package var nextDeadline: Instant { nextTurn }

    /// Whom to ask now; each is counted as asked.
    package mutating func due(at now: Instant) -> [NodeID] {
        asked = asked.filter { now - $0.value < AttributeLimits.answerTimeout }
        var due: [NodeID] = []
        for peer in nudged where asked[peer] == nil { due.append(peer) }
        nudged.removeAll { due.contains($0) }
        if now >= nextTurn {
            nextTurn = now + AttributeLimits.interval
            if !peers.isEmpty {
                let peer = peers[turn % peers.count]
                turn += 1
                if asked[peer] == nil, !due.contains(peer) { due.append(peer) }
            }
        }
        for peer in due { asked[peer] = now }
        return due
    }

    /// A peer says that something is new, or its answer said that there is more.
    package mutating func nudge(_ peer: NodeID) {
        guard peers.contains(peer), !nudged.contains(peer) else { return }
        nudged.append(peer)
    }

    /// The question could not be sent: the next turn asks again.
    package mutating func unsent(_ peer: NodeID) {
        asked[peer] = nil
    }

    package mutating func answered(_ peer: NodeID, isComplete: Bool) {
        asked[peer] = nil
        if !isComplete { nudge(peer) }
    }
}
