import Core
import Gossip
import NodeCore
import Replication
import Storage

/// A node's gossip, as another one showed it last.
struct GossipVersion: Hashable, Comparable, Sendable {
    var generation: Int64
    var heartbeat: UInt64

    static func < (left: GossipVersion, right: GossipVersion) -> Bool {
        (left.generation, left.heartbeat) < (right.generation, right.heartbeat)
    }
}

/// S9 and S12: what a node says of itself to others.
extension VirtualCluster {
    /// S9, for each message that is sent: an answer counts only if it says that it votes, so a node
    /// without a vote must not say so, nor give rows, nor stand as a source of a sync. What the
    /// answers were worth, S3 tells.
    func checkVote(
        _ message: PeerMessage, of node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        guard !process.posture.hasVote, case .replication(let message) = message,
            let claim = claim(in: message)
        else { return }
        throw Violation("S9", "\(node.id) has no vote, and \(claim)")
    }

    /// S9: a recovering node copies only from peers whose disks say that its earlier lives are
    /// over. Else an answer of such a life, and a later one of the source, could decide what the
    /// copy does not contain.
    func checkFence(
        _ message: PeerMessage, of node: VirtualNode, _ process: VirtualProcess,
        to peer: VirtualNode
    ) throws(Violation) {
        guard swarm.budget != .beyond, case .replication(.syncAsk(let ask)) = message,
            ask.wantsUnbound, let target = process.core.recoveryTarget
        else { return }
        guard peer.shadow.incarnation(of: node.id) >= target else {
            throw Violation("S9", "\(node.id) copies from \(peer.id), which has not fenced it")
        }
    }

    /// S9: a disk that was set back, and of which every other one knows more, does not vote before
    /// it has recovered.
    func checkRecovered(_ node: VirtualNode) throws(Violation) {
        guard node.mustRecover else { return }
        throw Violation("S9", "\(node.id) votes with a disk that was set back")
    }

    private func claim(in message: ReplicationMessage) -> String? {
        switch message {
        case .bindReply(let reply): reply.vote.isVoting ? "votes for a batch" : nil
        case .applyReply(let reply): reply.vote.isVoting ? "votes for slices" : nil
        case .statusReply(let reply): reply.vote.isVoting ? "votes on an outcome" : nil
        case .syncReply(let reply): reply.isSource ? "is a source of a sync" : nil
        case .readReply(let reply): if case .read = reply.answer { "answers a read" } else { nil }
        default: nil
        }
    }

    /// S12: what a node shows of the others' gossip never goes back while it lives.
    func checkVersions(
        _ audit: NodeAudit, _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        for (index, version) in audit.versions.enumerated() {
            guard let version else { continue }
            // A generation from a clock that was years ahead is given up (decision 16).
            if let before = process.versions[index], version < before, !swarm.has(.clockSteps) {
                throw Violation(
                    "S12",
                    "\(node.id) shows \(nodes[index].id) at \(version.generation)."
                        + "\(version.heartbeat) after \(before.generation).\(before.heartbeat)")
            }
            process.versions[index] = version
        }
    }

    /// S12: nor does a node's own generation, as long as it has its disk.
    func checkGeneration(_ generation: Int64, of node: VirtualNode) throws(Violation) {
        // A generation from a clock that was years ahead is given up (decision 16).
        if let before = node.generation, generation <= before, !swarm.has(.clockSteps) {
            throw Violation(
                "S12", "\(node.id) starts with generation \(generation) after \(before)")
        }
        node.generation = generation
    }

    /// S7: a batch that was counted is known for ever, however old the retry.
    func checkRemembered(_ number: Int, _ status: BatchStatus) throws(Violation) {
        let effort = workload.efforts[number]
        guard effort.mustBeCounted else { return }
        if case .counted = status { return }
        throw Violation("S7", "c\(effort.content) is counted, and was forgotten")
    }

    /// L6: counters of incidents stay at zero where no damage was done.
    func checkIncidents(
        _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        guard !swarm.has(.rogues), swarm.budget != .beyond else { return }
        for (name, count) in process.core.incidents where count > 0 {
            throw Violation(
                "L6", "\(node.id) counts \(count) \(name), but nothing was damaged")
        }
    }
}
