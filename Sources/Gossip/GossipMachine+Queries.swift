package import Core

/// What `gossipinfo` and `status` show of one node.
package struct GossipEndpoint: Hashable, Sendable {
    package let node: NodeID
    /// Nil where nothing was heard of it.
    package let state: EndpointState?
    package let isUp: Bool
    package let isReachable: Bool
    /// In thousandths; nil for this node and for those that are not UP.
    package let phi: Int?
}

extension GossipMachine {
    /// Whether the node is UP as this node sees it. It is always UP for itself.
    package func isUp(_ node: NodeID) -> Bool {
        node == self.node || peer(node)?.isUp ?? false
    }

    /// Whether requests should be routed to the node: UP, and no connection to it was refused since
    /// the last that succeeded.
    package func isReachable(_ node: NodeID) -> Bool {
        guard node != self.node else { return true }
        guard let peer = peer(node) else { return false }
        return peer.isUp && !peer.isRefused
    }

    /// All nodes that are UP, this one among them, in order.
    package var liveNodes: [NodeID] {
        var nodes = livePeers
        nodes.insert(node, at: nodes.firstIndex { $0 > node } ?? nodes.endIndex)
        return nodes
    }

    /// The other nodes that are UP, in order.
    package var livePeers: [NodeID] {
        roster.peers.filter(\.isUp).map(\.node)
    }

    /// All nodes that are known, this one among them, in order.
    package var knownNodes: [NodeID] {
        var nodes = roster.nodes
        nodes.insert(node, at: roster.place(of: node))
        return nodes
    }

    package func state(of node: NodeID) -> EndpointState? {
        node == self.node ? own : peer(node)?.endpoint
    }

    package func generation(of node: NodeID) -> Int64? {
        state(of: node)?.generation
    }

    package func heartbeat(of node: NodeID) -> UInt64? {
        state(of: node)?.heartbeat
    }

    /// Suspicion in thousandths; nil for this node and for those that are not UP.
    package func phi(of node: NodeID, at now: Instant) -> Int? {
        guard case .up(let vigil) = peer(node)?.standing else { return nil }
        return vigil.arrivals.phi(at: clock.listened(at: now))
    }

    /// Everything, in order of names.
    package func endpoints(at now: Instant) -> [GossipEndpoint] {
        knownNodes.map {
            GossipEndpoint(
                node: $0, state: state(of: $0), isUp: isUp($0), isReachable: isReachable($0),
                phi: phi(of: $0, at: now))
        }
    }

    private func peer(_ node: NodeID) -> Peer? {
        roster.index(of: node).map { roster.peers[$0] }
    }
}
