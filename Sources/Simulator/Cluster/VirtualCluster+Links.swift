import Core
import NodeCore

/// The transport: one outgoing link per peer, told to the core as the real one does. A link belongs
/// to one life of the peer; what is sent over it never reaches the next one.
extension VirtualCluster {
    func connectAll(_ node: VirtualNode, _ process: VirtualProcess) {
        for peer in nodes.indices where peer != node.index {
            put(.connect(peer), to: node.index, process.instance, after: linkDelay())
        }
    }

    func connect(_ node: VirtualNode, _ process: VirtualProcess, to peer: Int) {
        guard process.links[peer] == nil else { return }
        let again = Duration.milliseconds(50 + linkRandom.below(400))
        if isCut(node.index, peer) {
            put(.connect(peer), to: node.index, process.instance, after: again)
        } else if let other = nodes[peer].process {
            if other.pausedUntil > now {
                put(.connect(peer), to: node.index, process.instance, after: again)
            } else {
                put(
                    .connected(peer, other.instance), to: node.index, process.instance,
                    after: linkDelay())
            }
        } else {
            put(
                .disconnected(peer, refused: true), to: node.index, process.instance,
                after: linkDelay())
        }
    }

    func linkUp(
        _ node: VirtualNode, _ process: VirtualProcess, to peer: Int, _ instance: UInt64
    ) throws(Violation) {
        guard process.links[peer] == nil else { return }
        guard nodes[peer].process?.instance == instance else {
            connect(node, process, to: peer)
            return
        }
        process.links[peer] = instance
        trace.note(.link, at: now, node: node.index, UInt64(peer) << 1 | 1)
        log("\(node.id) is connected to \(nodes[peer].id)")
        try handle(.connected(nodes[peer].id), node, process)
    }

    func linkDown(
        _ node: VirtualNode, _ process: VirtualProcess, to peer: Int, isRefused: Bool
    ) throws(Violation) {
        if let instance = process.links[peer], nodes[peer].process?.instance == instance { return }
        process.links[peer] = nil
        trace.note(.link, at: now, node: node.index, UInt64(peer) << 1)
        let again = Duration.milliseconds(20 + linkRandom.below(isRefused ? 800 : 80))
        put(.connect(peer), to: node.index, process.instance, after: again)
        log("\(node.id) is cut off from \(nodes[peer].id)\(isRefused ? ", refused" : "")")
        try handle(.disconnected(nodes[peer].id, refused: isRefused), node, process)
    }

    /// After five seconds of a cut the transport gives the link up.
    func closeIdle(
        _ node: VirtualNode, _ process: VirtualProcess, to peer: Int
    ) throws(Violation) {
        guard let instance = process.links[peer] else { return }
        guard isCut(node.index, peer) || nodes[peer].process?.instance != instance else { return }
        process.links[peer] = nil
        log("\(node.id) closes its idle link to \(nodes[peer].id)")
        put(.connect(peer), to: node.index, process.instance, after: linkDelay())
        try handle(.disconnected(nodes[peer].id, refused: false), node, process)
    }

    /// A process is gone: its peers' kernels say so, unless the wires are cut.
    func resetLinks(to peer: VirtualNode) {
        for node in nodes where node.index != peer.index {
            guard let process = node.process, process.links[peer.index] != nil else { continue }
            if isCut(node.index, peer.index) {
                watchIdle(node, to: peer.index)
            } else {
                put(
                    .disconnected(peer.index, refused: false), to: node.index, process.instance,
                    after: linkDelay())
            }
        }
    }

    func watchIdle(_ node: VirtualNode, to peer: Int) {
        guard let process = node.process else { return }
        put(.idle(peer), to: node.index, process.instance, after: .seconds(5))
    }

    private func isCut(_ one: Int, _ other: Int) -> Bool {
        network.isCut(from: one, to: other) || network.isCut(from: other, to: one)
    }

    private func linkDelay() -> Duration {
        .microseconds(200) + linkRandom.duration(below: .milliseconds(3))
    }
}
