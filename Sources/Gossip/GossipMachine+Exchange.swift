import Core

// SYN, ACK, ACK2: whom to gossip with, what to tell, and what to believe.

extension GossipMachine {
    /// One random live peer; a dead one with p = dead / (live + 1), so that a healed cut is seen;
    /// a seed where no live one was met, or now and then where fewer live than there are seeds.
    mutating func gossip(into effects: inout [GossipEffect]) {
        let live = roster.peers.filter(\.isUp).map(\.node)
        let dead = roster.peers.filter { !$0.isUp }.map(\.node)
        var targets: [NodeID] = []
        if !live.isEmpty { targets.append(random.pick(live)) }
        if !dead.isEmpty, random.chance(dead.count, in: live.count + 1) {
            targets.append(random.pick(dead))
        }
        let metSeed = targets.first.map(seeds.contains) ?? false
        if !seeds.isEmpty, !metSeed || live.count < seeds.count {
            if live.isEmpty || random.chance(seeds.count, in: live.count + dead.count) {
                let seed = random.pick(seeds)
                if !targets.contains(seed) { targets.append(seed) }
            }
        }
        guard !targets.isEmpty else { return }
        let syn = self.syn
        for target in targets { effects.append(.send(syn, to: target)) }
    }

    /// The digests of all that is held, this node's own among them.
    var syn: GossipMessage {
        var digests = roster.peers.map(\.digest)
        digests.insert(
            EndpointDigest(node: node, generation: own.generation, version: own.version),
            at: roster.place(of: node))
        return .syn(cluster: cluster, digests: digests)
    }

    mutating func answer(
        _ digests: [EndpointDigest], to peer: NodeID, at now: Now,
        into effects: inout [GossipEffect]
    ) {
        var deltas: [EndpointDelta] = []
        var requests: [EndpointDigest] = []
        for digest in digests {
            if digest.node == node {
                checkRank(digest, at: now, into: &effects)
            } else if let request = request(after: digest, at: now, into: &effects) {
                requests.append(request)
            }
        }
        // Both lists ascend: one walk finds what each endpoint lacks, also those not mentioned.
        var next = digests.startIndex
        for endpoint in held {
            while next < digests.endIndex, digests[next].node < endpoint.node { next += 1 }
            let known = next < digests.endIndex && digests[next].node == endpoint.node
            let digest = known ? digests[next] : endpoint.blank
            if let delta = delta(for: digest) { deltas.append(delta) }
        }
        let room = GossipLimits.messageMax - requests.reduce(0) { $0 + $1.encodedSize }
        deltas = fitting(deltas, room: room)
        effects.append(.send(.ack(deltas: deltas, requests: requests), to: peer))
    }

    /// The nodes of which something can be told, in order.
    private var held: [Held] {
        var nodes = roster.peers.filter { $0.endpoint != nil }.map { Held(node: $0.node) }
        let place = nodes.firstIndex { $0.node > node } ?? nodes.endIndex
        nodes.insert(Held(node: node), at: place)
        return nodes
    }

    private struct Held {
        let node: NodeID
        var blank: EndpointDigest { EndpointDigest(node: node, generation: 0, version: 0) }
    }

    /// What the holder of `digest` lacks; nil where nothing.
    func delta(for digest: EndpointDigest) -> EndpointDelta? {
        let endpoint =
            digest.node == node
            ? own : roster.index(of: digest.node).flatMap { roster.peers[$0].endpoint }
        guard let endpoint, endpoint.generation >= digest.generation else { return nil }
        let after = endpoint.generation == digest.generation ? digest.version : 0
        return after < endpoint.version ? endpoint.delta(of: digest.node, after: after) : nil
    }

    /// What we lack of the holder of `digest`; nil where nothing, or where we do not want it.
    private mutating func request(
        after digest: EndpointDigest, at now: Now, into effects: inout [GossipEffect]
    ) -> EndpointDigest? {
        guard digest.generation > 0, !removed.contains(digest.node) else { return nil }
        guard let index = roster.index(of: digest.node) else {
            // A node that nobody told us of: ask, and admit it when its state is here.
            let isBelieved = digest.generation <= Generation.limit(held: 0, now: now.wall)
            return isBelieved
                ? EndpointDigest(node: digest.node, generation: digest.generation, version: 0)
                : nil
        }
        let held = roster.peers[index].digest
        if digest.generation > held.generation {
            guard believes(digest.generation, of: index, at: now, into: &effects) else {
                return nil
            }
            return EndpointDigest(node: digest.node, generation: digest.generation, version: 0)
        }
        let isBehind = digest.generation == held.generation && digest.version > held.version
        return isBehind ? held : nil
    }

    /// As many as fit, beginning at a random one so that none starves. The rest still differs at
    /// the next exchange and is told then.
    mutating func fitting(
        _ deltas: [EndpointDelta], room: Int = GossipLimits.messageMax
    ) -> [EndpointDelta] {
        // Form, kind and both counts.
        var left = room - 6
        guard deltas.reduce(0, { $0 + $1.encodedSize }) > left else { return deltas }
        let start = random.below(deltas.count)
        var chosen: [EndpointDelta] = []
        for delta in deltas[start...] + deltas[..<start] {
            guard delta.encodedSize <= left else { break }
            left -= delta.encodedSize
            chosen.append(delta)
        }
        return chosen.sorted { $0.node < $1.node }
    }

    /// Takes all states of one endpoint as a unit, or nothing.
    mutating func apply(_ delta: EndpointDelta, at now: Now, into effects: inout [GossipEffect]) {
        if delta.node == node {
            let digest = EndpointDigest(
                node: node, generation: delta.generation, version: delta.version)
            checkRank(digest, at: now, into: &effects)
            return
        }
        guard !removed.contains(delta.node), let index = place(for: delta, at: now) else { return }
        guard let endpoint = roster.peers[index].endpoint else {
            adopt(delta, at: index, now: now, into: &effects)
            return
        }
        if delta.generation > endpoint.generation {
            adopt(delta, at: index, now: now, into: &effects)
            return
        }
        switch roster.peers[index].endpoint?.merge(delta) ?? .ignored {
        case .ignored: return
        case .beat: break
        case .changed: effects.append(.statesChanged(delta.node))
        }
        if delta.heartbeat > endpoint.heartbeat { roster.peers[index].arrive(at: clock.listened) }
        noticeNews(of: index, into: &effects)
    }

    /// The peer's place in the roster. A node unknown so far is admitted only with a state that
    /// can be believed.
    private mutating func place(for delta: EndpointDelta, at now: Now) -> Int? {
        if let index = roster.index(of: delta.node) { return index }
        guard delta.after == 0, delta.generation <= Generation.limit(held: 0, now: now.wall)
        else { return nil }
        return roster.admit(delta.node)
    }

    /// The first or the next life of a peer.
    private mutating func adopt(
        _ delta: EndpointDelta, at index: Int, now: Now, into effects: inout [GossipEffect]
    ) {
        guard believes(delta.generation, of: index, at: now, into: &effects),
            let endpoint = EndpointState(whole: delta)
        else { return }
        let isRestart = roster.peers[index].endpoint != nil
        roster.peers[index].endpoint = endpoint
        if isRestart {
            let proof = roster.peers[index].proof(of: endpoint.generation)
            if roster.peers[index].fall() { effects.append(.peerDown(delta.node)) }
            roster.peers[index].standing = .down(proof: proof)
            let generation = endpoint.generation
            effects.append(.peerRestarted(delta.node, generation: generation))
        }
        effects.append(.statesChanged(delta.node))
        noticeNews(of: index, into: &effects)
    }

    private mutating func believes(
        _ generation: Int64, of index: Int, at now: Now, into effects: inout [GossipEffect]
    ) -> Bool {
        let held = roster.peers[index].endpoint?.generation ?? 0
        if generation <= Generation.limit(held: held, now: now.wall) { return true }
        if roster.peers[index].refusedGeneration != generation {
            roster.peers[index].refusedGeneration = generation
            let node = roster.peers[index].node
            effects.append(.generationRefused(node, generation: generation))
        }
        return false
    }

    /// Others may hold a life of ours that outranks the present one: everything we say would be
    /// old news to them.
    private mutating func checkRank(
        _ digest: EndpointDigest, at now: Now, into effects: inout [GossipEffect]
    ) {
        let (generation, version) = (digest.generation, digest.version)
        guard generation > own.generation || generation == own.generation && version > own.version,
            generation > outrankedBy,
            // To follow an absurd claim would make everybody refuse us.
            generation < Generation.limit(held: own.generation, now: now.wall)
        else { return }
        outrankedBy = generation
        effects.append(.outranked(by: generation))
    }
}
