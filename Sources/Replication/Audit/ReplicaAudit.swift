package import Core

/// What one node makes of its comparisons with each peer, one after the other.
///
/// Sets only grow, so two equal digests of one side at two moments say that nothing came in
/// between. That is what tells the three apart:
///
/// - *lag*: the sets differ, and something may still be on its way. Counted, and never an alarm.
/// - *incident*: equal sets and different folds. Both are functions of the same batches, so a disk
///   or a memory lies; there is no innocent reason and nothing to wait for.
/// - *divergence*: the sets differ and stay as they are although, since they were first seen so and
///   older than what catch-up leaves out as young, each side has twice pulled all that the other
///   lists. (Twice: the first of the two may have begun before.) Nothing is left that would ever
///   make them equal.
///
/// Only settled nodes are judged: one that recovers lacks what it lacks for a stated reason.
package struct ReplicaAudit: Sendable {
    /// How far this node and a peer are apart, as of their last comparison.
    package struct Lag: Hashable, Sendable {
        package var partitions = 0
        /// At least so many slices and home records that the peer holds are not here yet.
        package var batches: UInt64 = 0

        package init() {}
    }

    private struct Apart {
        var own: AuditSum
        var theirs: AuditSum
        var since: Instant
        /// Pulls of both sides when all that they hold was older than young; nil before.
        var baseline: (own: UInt64, theirs: UInt64)?
        var isRipe = false
    }

    private struct Peer {
        var lag = Lag()
        var apart: [PartitionID: Apart] = [:]
        var incidents: Set<PartitionID> = []
        var lastClean: Instant?
    }

    /// Complete catch-ups of both sides since their starts.
    package struct Pulls: Hashable, Sendable {
        package var own: UInt64
        package var theirs: UInt64

        package init(own: UInt64, theirs: UInt64) {
            self.own = own
            self.theirs = theirs
        }
    }

    private var peers: [NodeID: Peer] = [:]
    private let isBlind: Bool

    /// - Parameter isBlind: the mutant that never looks at folds.
    package init(isBlind: Bool = false) {
        self.isBlind = isBlind
    }

    /// The sums over all shared partitions were equal.
    package mutating func agree(with peer: NodeID, at now: Instant) {
        peers[peer] = Peer()
        peers[peer]?.lastClean = now
    }

    /// Judges one comparison, line by line; both sides list the same partitions, ascending.
    ///
    /// - Parameter young: how long catch-up leaves new entries out.
    /// - Returns: what is new: each finding once until it is over.
    package mutating func judge(
        _ peer: NodeID, own: [AuditLine], theirs: [AuditLine], pulls: Pulls, young: Duration,
        at now: Instant
    ) -> [AuditFinding] {
        var state = peers[peer] ?? Peer()
        var findings: [AuditFinding] = []
        state.lag = Lag()
        for (mine, other) in zip(own, theirs) where mine.partition == other.partition {
            let partition = mine.partition
            if mine.sum.applied == other.sum.applied, !isBlind {
                if mine.sum.state == other.sum.state {
                    state.incidents.remove(partition)
                } else if state.incidents.insert(partition).inserted {
                    findings.append(Self.incident(peer, partition))
                }
            }
            if mine.sum.hasSameSets(as: other.sum) {
                state.apart[partition] = nil
            } else {
                state.lag.add(mine.sum, other.sum)
                let known = state.apart[partition]
                let apart = Self.follow(known, mine.sum, other.sum, pulls, young, now)
                if apart.isRipe, known?.isRipe != true {
                    findings.append(Self.divergence(peer, partition))
                }
                state.apart[partition] = apart
            }
        }
        if state.apart.isEmpty, state.incidents.isEmpty { state.lastClean = now }
        peers[peer] = state
        return findings
    }

    /// A peer says that it found an incident with this node; true where that is news.
    package mutating func note(_ partition: PartitionID, suspectedBy peer: NodeID) -> Bool {
        guard !isBlind else { return false }
        return peers[peer, default: Peer()].incidents.insert(partition).inserted
    }

    /// The peer is not compared with for now: nothing is known of it.
    package mutating func forget(_ peer: NodeID) {
        peers[peer]?.lag = Lag()
        peers[peer]?.apart = [:]
    }

    // MARK: - Answers

    package func lag(of peer: NodeID) -> Lag { peers[peer]?.lag ?? Lag() }

    package func lastClean(with peer: NodeID) -> Instant? { peers[peer]?.lastClean }

    /// All that was found and is still so, by peer and partition.
    package var open: [AuditFinding] {
        peers.keys.sorted().flatMap { name -> [AuditFinding] in
            guard let peer = peers[name] else { return [] }
            let ripe = peer.apart.filter(\.value.isRipe).keys.sorted()
            return peer.incidents.sorted().map { Self.incident(name, $0) }
                + ripe.map { Self.divergence(name, $0) }
        }
    }

    private static func incident(_ peer: NodeID, _ partition: PartitionID) -> AuditFinding {
        AuditFinding(
            kind: .incident, peer: peer, partition: partition,
            detail: "the same batches are applied, and the sums differ")
    }

    private static func divergence(_ peer: NodeID, _ partition: PartitionID) -> AuditFinding {
        AuditFinding(
            kind: .divergence, peer: peer, partition: partition,
            detail: "the batches differ, and catching up changes nothing")
    }

    private static func follow(
        _ known: Apart?, _ own: AuditSum, _ theirs: AuditSum, _ pulls: Pulls, _ young: Duration,
        _ now: Instant
    ) -> Apart {
        guard var apart = known, apart.own.hasSameSets(as: own),
            apart.theirs.hasSameSets(as: theirs)
        else { return Apart(own: own, theirs: theirs, since: now) }
        guard let baseline = apart.baseline, baseline.own <= pulls.own,
            baseline.theirs <= pulls.theirs
        else {
            if now >= apart.since + young { apart.baseline = (pulls.own, pulls.theirs) }
            return apart
        }
        let isRipe = pulls.own >= baseline.own + 2 && pulls.theirs >= baseline.theirs + 2
        apart.isRipe = apart.isRipe || isRipe
        return apart
    }
}

extension ReplicaAudit.Lag {
    fileprivate mutating func add(_ own: AuditSum, _ theirs: AuditSum) {
        partitions += 1
        for (mine, other) in [(own.applied, theirs.applied), (own.home, theirs.home)]
        where other.count > mine.count {
            batches += other.count - mine.count
        }
    }
}
