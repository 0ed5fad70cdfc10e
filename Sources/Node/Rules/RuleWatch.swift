package import Core

/// What a node knows of its peers' rules, and what follows for the batches that clients send it.
/// Greetings and instants in, answers out.
///
/// It never says how a batch folds: it may only keep the node from taking any.
package struct RuleWatch: Sendable {
    /// What was last heard of a peer: also while it is away.
    private enum Peer: Hashable, Sendable {
        /// Connected, or was: when it was heard, both tables said the same up to then.
        case agrees([RuleNotice])
        /// One of the two refused the other. Next: `agrees`, once it has another table.
        case differs(String)
    }

    package private(set) var memory: RuleMemory
    private let members: Int
    private var peers: [NodeID: Peer] = [:]
    private var nextStore: Instant?

    /// - Parameter members: how many nodes the cluster has, with this one.
    package init(_ memory: RuleMemory, members: Int) {
        self.memory = memory
        self.members = members
    }

    package mutating func heard(_ notices: [RuleNotice], of peer: NodeID) {
        peers[peer] = .agrees(notices)
    }

    package mutating func refused(_ reason: String, by peer: NodeID) {
        peers[peer] = .differs(reason)
    }

    /// The memory with the entries that are confirmed by what was heard, to be stored and then
    /// taken by `stored`; nil where nothing changes, or was asked for shortly before.
    package mutating func toStore(at now: Instant) -> RuleMemory? {
        var next = memory
        for index in memory.entries.indices
        where memory.entries[index].standing != .confirmed && isConfirmed(index) {
            next.entries[index].standing = .confirmed
        }
        guard next != memory, nextStore.map({ $0 <= now }) ?? true else { return nil }
        nextStore = now + RuleLimits.storeRetry
        return next
    }

    package mutating func stored(_ memory: RuleMemory) {
        self.memory = memory
    }

    /// Most members have the entry, and all before it, and had it in time; or all have it, and none
    /// of them has counted anything without it.
    private func isConfirmed(_ index: Int) -> Bool {
        var inTime = 0
        var innocent = 0
        for standing in [memory.entries[index].standing] + standings(at: index) {
            switch standing {
            case .early, .confirmed:
                inTime += 1
                innocent += 1
            case .fresh:
                innocent += 1
            case .late:
                break
            }
        }
        return inTime * 2 > members || innocent == members
    }

    private func standings(at index: Int) -> [RuleStanding] {
        let own = memory.entries[...index].map(\.entry)
        return peers.values.compactMap { peer in
            guard case .agrees(let theirs) = peer, theirs.count > index,
                theirs[...index].map(\.entry) == own
            else { return nil }
            return theirs[index].standing
        }
    }

    /// Why no batch is to be taken from clients; nil where they are.
    package func refusal(at now: WallTime) -> String? {
        for (index, notice) in memory.entries.enumerated()
        where notice.standing != .confirmed && notice.entry.from - RuleLimits.guardTime <= now {
            let version = ruleVersion(at: index).number
            return "rules: version \(version) begins at \(TimeText.format(notice.entry.from)), "
                + "and most of the \(members) nodes are not known to have had it in time: start "
                + "those that had it, or write a later time on all nodes and restart them"
        }
        let others = peers.sorted { $0.key < $1.key }.compactMap { node, peer in
            difference(from: peer, at: now).map { "\(node): \($0)" }
        }
        let agreeing = 1 + peers.count - others.count
        return agreeing * 2 > members ? nil : others.first
    }

    /// Why the two tables are not the same by now; nil where they are. A peer that went away before
    /// the time came at which they part has not said so.
    private func difference(from peer: Peer, at now: WallTime) -> String? {
        switch peer {
        case .differs(let reason):
            return reason
        case .agrees(let theirs):
            guard let divergence = RuleDivergence(memory.entries, theirs), divergence.end <= now
            else { return nil }
            return divergence.rejection.sentence(heard: false)
        }
    }
}
