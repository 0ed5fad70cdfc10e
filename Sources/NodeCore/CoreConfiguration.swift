package import Core
import Replication
package import Ring

/// What a node is told at its start and what does not change while it runs.
package struct CoreConfiguration: Sendable {
    package var node: NodeID
    package var clusterName: String
    /// All members, this node among them; ascending by name.
    package var members: [Member]
    package var partitions: Int
    package var replication: ReplicationFactor
    package var window: WindowLength = .minute
    package var digestKey: SipKey
    package var gossipInterval: Duration = .seconds(1)
    package var requestTimeout: Duration = .seconds(5)
    package var horizon: Duration = Limits.horizonDefault
    package var segmentLength: Duration = Segment.lengthDefault
    /// How far nodes' wall clocks may be apart.
    package var clockSkewMax: Duration = .seconds(60)
    /// How often peers are asked whether segments can be closed and sealed.
    package var closeInterval: Duration = .seconds(1)
    /// A memtable of this size is flushed.
    package var memtableBytesMax = 64 << 20
    /// A memtable whose first cell is this old is flushed.
    package var memtableAgeMax: Duration = .seconds(600)
    /// How long a home voter waits for the coordinator before it drives a batch on itself.
    package var driveAfter: Duration = .seconds(3)
    package var catchUpInterval: Duration = .seconds(1)
    /// Peers' entries younger than this are in flight, not missing.
    package var catchUpAge: Duration = .seconds(1)
    /// A replica that has not answered a read in this time is replaced by a spare one.
    package var readAttemptTimeout: Duration = .milliseconds(250)
    /// Client writes, reads and questions for outcomes under way at once, each; more are refused.
    package var sessionsMax = ReplicationLimits.sessionsMax
    /// Planted bugs that the simulator must find; empty in production.
    package var mutants: Set<Mutant> = []

    package struct Member: Hashable, Sendable {
        package var node: NodeID
        package var http: String
        package var peer: String
        package var dc: String
        package var rack: String

        package init(node: NodeID, http: String, peer: String, dc: String, rack: String) {
            self.node = node
            self.http = http
            self.peer = peer
            self.dc = dc
            self.rack = rack
        }
    }

    package init(
        node: NodeID, clusterName: String, members: [Member], partitions: Int,
        replication: ReplicationFactor, digestKey: SipKey
    ) {
        self.node = node
        self.clusterName = clusterName
        self.members = members.sorted { $0.node < $1.node }
        self.partitions = partitions
        self.replication = replication
        self.digestKey = digestKey
    }
}

/// A planted bug. The simulator is trusted only because it finds each of these.
package enum Mutant: String, CaseIterable, Sendable {
    /// A batch that is applied already is applied again.
    case skipDedupe = "skip-dedupe"
    /// A home voter applies as soon as it holds the record.
    case applyBeforeBound = "apply-before-bound"
    /// A voter answers before its log is synced.
    case acknowledgeBeforeSync = "acknowledge-before-sync"
    /// A restarted voter answers quorum reads before it settled what it holds in doubt.
    case voteInDoubt = "vote-in-doubt"
    /// A quorum read takes the larger of two answers.
    case maximumRead = "max-read"
    /// Replay applies marks that a file covers.
    case replayIgnoresCoverage = "replay-ignores-coverage"
    /// Catch-up drops one slice of what it fetched, and marks it applied.
    case catchUpDropsSlice = "catch-up-drops-slice"
    /// A freeze is told before it is on disk.
    case freezeNotDurable = "freeze-not-durable"
    /// Segments are sealed although one voter has not answered.
    case sealWithFewer = "seal-with-fewer"
    /// A recovering voter is taken as absent when segments are sealed.
    case sealWithoutRecovering = "seal-without-recovering"
    /// A coordinator refuses writes while any voter is away.
    case refusesWithoutAll = "refuse-without-all"
    /// A coordinator takes calls without a limit.
    case boundlessSessions = "boundless-sessions"
}
