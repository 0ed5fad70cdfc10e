import Core

// Who is alive. News of a peer (heartbeats through whomever) make it a candidate; its own answer to
// our probe makes it UP; long silence of either, a new life or a farewell make it DOWN.

extension GossipMachine {
    mutating func convictSilent(into effects: inout [GossipEffect]) {
        guard !clock.isInGrace else { return }
        for index in roster.peers.indices
        where roster.peers[index].isSilent(at: clock.listened, interval: interval) {
            _ = roster.peers[index].fall()
            effects.append(.peerDown(roster.peers[index].node))
        }
    }

    /// Probes those who are UP, whether they still answer, and those never heard of, whether they
    /// are there, in turn: each at least once in `probeRounds` intervals.
    mutating func probeInTurn(into effects: inout [GossipEffect]) {
        let candidates = roster.peers.indices.filter {
            roster.peers[$0].isUp || roster.peers[$0].endpoint == nil
        }
        let rounds = GossipDetection.probeRounds
        let quota = max(
            GossipDetection.probesPerIntervalMin, (candidates.count + rounds - 1) / rounds)
        let last = probedLast
        let start = candidates.firstIndex { index in
            last.map { roster.peers[index].node > $0 } ?? true
        }
        let first = start ?? candidates.startIndex
        for index in (candidates[first...] + candidates[..<first]).prefix(quota) {
            probe(index, into: &effects)
            probedLast = roster.peers[index].node
        }
    }

    private mutating func probe(_ index: Int, into effects: inout [GossipEffect]) {
        let nonce = random.next()
        roster.peers[index].probes.send(nonce, at: clock.listened, clock.seen)
        effects.append(.send(.probe(nonce: nonce), to: roster.peers[index].node))
    }

    /// Something new was heard of a peer. One that is DOWN is probed, at most twice an
    /// interval.
    mutating func noticeNews(of index: Int, into effects: inout [GossipEffect]) {
        if roster.peers[index].endpoint?.status == .shutdown {
            if roster.peers[index].fall() { effects.append(.peerDown(roster.peers[index].node)) }
            return
        }
        guard !roster.peers[index].isUp, !raiseIfProven(index, into: &effects) else { return }
        if let sent = roster.peers[index].probes.sent, clock.listened - sent < interval / 2 {
            return
        }
        probe(index, into: &effects)
    }

    mutating func take(
        answer nonce: UInt64, generation: Int64, wall: WallTime, from node: NodeID,
        into effects: inout [GossipEffect]
    ) {
        guard let index = roster.index(of: node),
            let sent = roster.peers[index].probes.answer(nonce)
        else { return }
        if let read = PeerClock(wall, sent: sent, received: clock.seen) {
            roster.peers[index].clock = read
        }
        roster.peers[index].isRefused = false
        let held = roster.peers[index].endpoint?.generation ?? 0
        // An answer of an earlier life, late.
        guard generation >= held else { return }
        let proof = Proof(generation: generation, time: clock.listened)
        if generation > held {
            // It lives, under a generation of which we have no state yet: ask it at once.
            if !roster.peers[index].isUp { roster.peers[index].standing = .down(proof: proof) }
            effects.append(.send(syn, to: node))
            return
        }
        switch roster.peers[index].standing {
        case .up(var vigil):
            vigil.answered = clock.listened
            roster.peers[index].standing = .up(vigil)
        case .down:
            roster.peers[index].standing = .down(proof: proof)
            _ = raiseIfProven(index, into: &effects)
        }
    }

    /// UP needs both: the state of the present life, and this life's own fresh answer.
    private mutating func raiseIfProven(
        _ index: Int, into effects: inout [GossipEffect]
    ) -> Bool {
        guard let endpoint = roster.peers[index].endpoint, endpoint.status != .shutdown,
            let proof = roster.peers[index].proof(of: endpoint.generation),
            clock.listened - proof.time <= interval * GossipDetection.proofIntervals
        else { return false }
        let arrivals = ArrivalWindow(interval: interval, start: clock.listened)
        roster.peers[index].standing = .up(Vigil(arrivals: arrivals, answered: proof.time))
        effects.append(.peerUp(roster.peers[index].node))
        return true
    }
}

extension Peer {
    /// The answer of this life that awaits its state.
    func proof(of generation: Int64) -> Proof? {
        guard case .down(let proof?) = standing, proof.generation == generation else { return nil }
        return proof
    }
}
