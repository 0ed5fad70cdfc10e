import Core

/// What this node holds and thinks of one other node.
struct Peer: Sendable {
    let node: NodeID
    /// Nil until something was heard of it.
    var endpoint: EndpointState?
    var standing: Standing = .down(proof: nil)
    var probes = ProbeLog()
    /// Its wall clock, as its last answer told it.
    var clock: PeerClock?
    /// A connection to it was refused and none succeeded since: a hint for routing only.
    var isRefused = false
    /// The last generation that was refused, so that it is reported once.
    var refusedGeneration: Int64 = 0

    init(node: NodeID) {
        self.node = node
    }

    var isUp: Bool {
        switch standing {
        case .up: true
        case .down: false
        }
    }

    var digest: EndpointDigest {
        EndpointDigest(
            node: node, generation: endpoint?.generation ?? 0, version: endpoint?.version ?? 0)
    }

    /// Back to DOWN; true where it was UP. What is on the way from before proves nothing any more.
    mutating func fall() -> Bool {
        let wasUp = isUp
        standing = .down(proof: nil)
        probes = ProbeLog()
        return wasUp
    }

    /// New heartbeats came, through whomever.
    mutating func arrive(at listened: Instant) {
        guard case .up(var vigil) = standing else { return }
        // Taken out before it changes, so that the window is not copied.
        standing = .down(proof: nil)
        vigil.arrivals.arrive(at: listened)
        standing = .up(vigil)
    }

    /// Whether its silence is too long, at a time in which we listened.
    func isSilent(at listened: Instant, interval: Duration) -> Bool {
        guard case .up(let vigil) = standing else { return false }
        if vigil.arrivals.phi(at: listened) > GossipDetection.phiMax { return true }
        return probes.unanswered >= GossipDetection.unansweredMax
            && listened - vigil.answered >= interval * GossipDetection.silenceIntervals
    }
}

/// UP or DOWN, as this node sees it.
enum Standing: Sendable {
    /// No use sending requests. `proof` is an answer to our probe that awaits the endpoint's state.
    /// Becomes UP by a fresh proof together with the state of the same life.
    case down(proof: Proof?)
    /// Answers our probes and beats. Becomes DOWN by silence, a new life, or a farewell.
    case up(Vigil)
}

struct Proof: Sendable {
    let generation: Int64
    let time: Instant
}

/// The watch over a peer that is UP. It begins anew with each rise: what was learnt before a fall
/// is forgotten.
struct Vigil: Sendable {
    var arrivals: ArrivalWindow
    /// The last answer to a probe of ours.
    var answered: Instant
}

/// The probes of one peer that were sent and not answered.
struct ProbeLog: Sendable {
    private var waiting: [(nonce: UInt64, sent: Instant)] = []
    private(set) var unanswered = 0
    private(set) var sent: Instant?

    mutating func send(_ nonce: UInt64, at listened: Instant, _ monotonic: Instant) {
        if waiting.count == GossipLimits.probesMax { waiting.removeFirst() }
        waiting.append((nonce: nonce, sent: monotonic))
        unanswered += 1
        sent = listened
    }

    /// When the probe was sent, on the monotonic clock; nil for an answer to nothing that we asked
    /// lately.
    mutating func answer(_ nonce: UInt64) -> Instant? {
        guard let place = waiting.firstIndex(where: { $0.nonce == nonce }) else { return nil }
        let sent = waiting[place].sent
        waiting.removeSubrange(...place)
        unanswered = waiting.count
        return sent
    }
}

/// The other nodes in order of their names, so that no hash order decides anything.
struct Roster: Sendable {
    private(set) var nodes: [NodeID] = []
    var peers: [Peer] = []

    func index(of node: NodeID) -> Int? {
        let place = self.place(of: node)
        return place < nodes.count && nodes[place] == node ? place : nil
    }

    /// The index of the node, which is added where it is new; nil where the roster is full.
    mutating func admit(_ node: NodeID) -> Int? {
        let place = self.place(of: node)
        if place < nodes.count, nodes[place] == node { return place }
        // This node itself counts too.
        guard nodes.count + 1 < Limits.nodesMax else { return nil }
        nodes.insert(node, at: place)
        peers.insert(Peer(node: node), at: place)
        return place
    }

    mutating func remove(at index: Int) {
        nodes.remove(at: index)
        peers.remove(at: index)
    }

    /// The first place whose name is not below `node`.
    func place(of node: NodeID) -> Int {
        var low = 0
        var high = nodes.count
        while low < high {
            let middle = (low + high) / 2
            if nodes[middle] < node { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
