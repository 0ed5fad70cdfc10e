package import Core
package import Replication
package import Ring
package import Storage

/// What a node is told at its start and what does not change while it runs.
package struct CoreConfiguration: Sendable {
    package var node: NodeID
    package var clusterName: String
    /// All members, this node among them; ascending by name.
    package var members: [Member]
    package var partitions: Int
    package var replication: ReplicationFactor
    package var window: WindowLength = .minute
    package var placement = KeyPlacement.Rule.key
    package var digestKey: SipKey
    package var gossipInterval: Duration = .seconds(1)
    package var requestTimeout: Duration = .seconds(5)
    package var horizon: Duration = Limits.horizonDefault
    package var segmentLength: Duration = Segment.lengthDefault
    /// How far nodes' wall clocks may be apart. A node whose clock differs by more from most of its
    /// peers' takes nothing new and freezes nothing.
    package var clockSkewMax: Duration = .seconds(60)
    /// How often peers are asked whether segments can be closed and sealed.
    package var closeInterval: Duration = .seconds(1)
    /// A memtable of this size is flushed.
    package var memtableBytesMax = StorageLimits.memtableBytesDefault
    /// So many times `memtableBytesMax` the memtable may hold while the one before it is being
    /// written; beyond that nothing new is taken.
    package var memtablesBehindMax = 2
    /// Bytes that lists take of the memtable and hold while their files are read, from where on
    /// further ones wait.
    package var scanBytesMax = ReplicationLimits.scanBytesMax
    /// A memtable whose first cell is this old is flushed.
    package var memtableAgeMax: Duration = .seconds(600)
    package var compaction = CompactionLimits()
    /// What one job of a compaction reads: it shares the file threads with flushes.
    package var compactionStepBytes = 512 << 10
    /// The share of time, in percent, in which compactions work as long as nobody waits for them:
    /// after each step they pause, so that a busy processor or disk slows them like the rest.
    package var compactionShare = 25
    /// Space alone is no reason for a compaction until nothing was flushed for so long.
    package var compactionRestAge: Duration = .seconds(30)
    /// Cells of a batch that are counted in one step; of one partition all are.
    package var applyCellsMax = 1024
    /// Bytes that wait in the memtable and are added in one step, for a flush or an audit.
    package var settleBytesMax = StorageLimits.settleBytesMax
    /// How long a home voter waits for the coordinator before it drives a batch on itself.
    package var driveAfter: Duration = .seconds(3)
    package var catchUpInterval: Duration = .seconds(1)
    /// Peers' entries younger than this are in flight, not missing.
    package var catchUpAge: Duration = .seconds(1)
    /// How often peers are told how far this node's disk has come.
    package var vouchInterval: Duration = ReplicationLimits.vouchInterval
    /// An operator's word: where the disk lost data and the peers that hold it never come, the node
    /// goes on without.
    package var acceptsLoss = false
    /// What a node pulls from one peer to catch up, while it serves clients.
    package var catchUpBytesPerSecond = 16 << 20
    /// One peer is compared with in each, one after the other.
    package var auditInterval: Duration = .seconds(5)
    /// In each the memtable is counted again, and one more file is begun, where the one before is
    /// read.
    package var scrubInterval: Duration = .seconds(60)
    /// What a scrub reads of files at most, and the share of time, in percent, in which it works:
    /// what compressed tables hold takes more time than their bytes, and a busy processor or disk
    /// slows it like the rest. A verification that somebody waits for goes on without pauses.
    package var scrubBytesPerSecond = 8 << 20
    package var scrubShare = 25
    /// What one job of either reads: it shares the file threads with flushes and commits.
    package var verifyStepBytes = StorageLimits.verifyStepBytes
    /// A replica that has not answered a read in this time is replaced by a spare one.
    package var readAttemptTimeout: Duration = .milliseconds(250)
    /// Sealed history leaves memory and the log when it is so many segments long; nil keeps all.
    package var forgetSegmentsMin: Int64? = 60
    /// nil keeps payloads in the log until their batches are forgotten.
    package var release: ReleasePolicy? = ReleasePolicy()
    /// nil: a start reads every file of the log.
    package var logIndex: LogIndexPolicy? = LogIndexPolicy()
    /// How long the home of a forgotten batch answers for its outcome.
    package var outcomeRetention: Duration = .seconds(7 * 86_400)
    /// How long windows are kept, and in which length.
    package var retention = RetentionPolicy.forever
    /// Bytes of dead letters in log and history beyond which a node takes no batch that has any;
    /// nil: no bound.
    package var letterBytesMax: UInt64?
    /// How long after one look for dead letters that are gone the next begins; nil: their bytes
    /// stay.
    package var letterSweepInterval: Duration? = .seconds(60)
    /// A history file is written anew where one in so many bytes of its letters goes.
    package var letterSweepPartMin: UInt64 = 4
    /// nil: there is no cold disk.
    package var cold: ColdPolicy?
    /// Who is away for longer is left out where segments are closed, and must recover when it comes
    /// back; nil waits for ever. Longer than `ReplicationLimits.absenceRoundMax`.
    package var absenceMax: Duration? = .seconds(86_400)
    /// What level ANY may park on this node; off by default.
    package var parking = ParkingOptions()
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

    /// Where cells lie on a ring of this many partitions.
    package func keyPlacement(_ partitioning: Partitioning) -> KeyPlacement {
        KeyPlacement(placement, partitioning, window: window)
    }

    /// What a memtable holds at most, but for what was on its way to it.
    package var heldBytesMax: Int { memtablesBehindMax * memtableBytesMax }

    var emptyMemtable: Memtable {
        Memtable(
            partitions: partitions, digestKey: digestKey, window: window,
            bytesMax: memtableBytesMax)
    }
}

/// What moves to the cold disk (docs/decisions/0029-cold-tier.md).
package struct ColdPolicy: Hashable, Sendable {
    /// So long after its end a time bucket moves; nil: nothing moves, and what is there stays.
    package var after: Duration?

    package init(after: Duration?) {
        self.after = after
    }
}

/// How payloads leave the log (docs/decisions/0026-payloads.md).
package struct ReleasePolicy: Hashable, Sendable {
    /// Files of the log: when so many could go.
    package var filesMin: UInt32
    /// As many at once; fewer where they hold more batches than these, one file at least: what is
    /// kept of them passes through memory.
    package var filesMax: UInt32
    package var batchesMax: Int
    /// Batches of which one step gathers what is kept; one segment at least.
    package var stepMax: Int
    /// How long peers may take to prove that they hold what is to go, before a later cut is chosen.
    package var proofMax: Duration

    package init(
        filesMin: UInt32 = 2, filesMax: UInt32 = 4, batchesMax: Int = 1 << 18, stepMax: Int = 4096,
        proofMax: Duration = .seconds(60)
    ) {
        precondition(filesMin > 0 && filesMin <= filesMax && stepMax > 0)
        self.filesMin = filesMin
        self.filesMax = filesMax
        self.batchesMax = batchesMax
        self.stepMax = stepMax
        self.proofMax = proofMax
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
    /// A quorum read adds up what its voters lack and makes nobody hold it.
    case unionWithoutWriteBack = "union-without-write-back"
    /// A coordinator whose partner gave it what it lacked does not hold that itself.
    case meetsWithoutHolding = "meet-without-holding"
    /// A top list over keys that lie in several partitions takes the greatest of each part.
    case cutsSplitTop = "cut-split-top"
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
    /// Whether a batch is too late to count is decided by this node's clock when it is applied.
    case rulesByLocalClock = "rules-by-local-clock"
    /// An fsync that failed is tried again, and believed.
    case fsyncRetried = "fsync-retried"
    /// A start believes what it reads, though an fsync of it may have failed.
    case pageCacheTrusted = "page-cache-trusted"
    /// Set digests are combined by XOR: what is applied twice looks as if it were missing, and two
    /// that differ may look equal.
    case xorDigest = "xor-digest"
    /// Replicas compare sets and never look at sums.
    case auditBlind = "audit-blind"
    /// The state that an audit compares is that of an earlier moment than the set beside it.
    case auditTorn = "audit-torn"
    /// A batch that is parked on its coordinator counts as held by one more voter.
    case parkedCounts = "parked-counts"
    /// A write at ANY is answered before its parked copy is on disk.
    case parkedBeforeSync = "parked-before-sync"
    /// A node says that a batch is finally not counted that it keeps parked.
    case deniesParked = "denies-parked"
    /// A producer seals anew what may lie parked on a node.
    case sealsParkedAnew = "seal-parked-anew"
    /// A coordinator refuses writes while any voter is away.
    case refusesWithoutAll = "refuse-without-all"
    /// History is forgotten that is closed and not yet sealed.
    case forgetsUnsealed = "forget-unsealed"
    /// History is forgotten whose cells are in memory alone.
    case forgetsUnflushed = "forget-unflushed"
    /// Payloads are let go of although peers have not proved that they hold them.
    case releasesUnproven = "release-unproven"
    /// Payloads are let go of whose cells are in memory alone.
    case releasesUnflushed = "release-unflushed"
    /// A forgotten id is not looked up.
    case forgottenTakenAsNew = "forgotten-as-new"
    /// A copy names batches that were applied after its cells were taken.
    case copyListsLater = "copy-lists-later"
    /// A node that finds another one away leaves it out, whatever the others say.
    case leavesOutAlone = "leave-out-alone"
    /// A compaction's table is listed beside one of those that it was made of.
    case compactionKeepsInput = "compaction-keeps-input"
    /// A compaction leaves one of its inputs out.
    case compactionDropsInput = "compaction-drops-input"
    /// A compaction loses cells, and nobody compares its sums.
    case compactionLosesCell = "compaction-loses-cell"
    /// The sources of a move go before its table's name is on the cold disk.
    case coldSourceFirst = "cold-source-first"
    /// What expires is forgotten in the sums that replicas compare.
    case expiryForgetsSums = "expiry-forgets-sums"
    /// A replica whose tables are coarser than the coordinator knows answers all the same.
    case answersRolled = "answers-rolled"
    /// A list of dead letters is compared by home records alone: not by what is retired.
    case lettersByHomes = "letters-by-homes"
    /// A coordinator takes calls without a limit.
    case boundlessSessions = "boundless-sessions"
    /// A batch is bound when one voter holds it.
    case bindWithOne = "bind-with-one"
    /// Nobody drives on what a coordinator left unfinished.
    case nobodyDrives = "nobody-drives"
    /// What peers know of a disk's records is not held against it.
    case positionsForgotten = "positions-forgotten"
    /// A recovering node copies without a fence, and answers of superseded lives count.
    case supersededCounts = "superseded-counts"
    /// A recovering node votes for what it is sent.
    case recoveringVotes = "recovering-votes"
    /// A recovering node is content with one source.
    case copyFromOne = "copy-from-one"
    /// Damage in the middle of the log is cut as if it were a torn tail.
    case damageCut = "damage-cut"
    /// A start forgets which batches were applied, beyond those that no file covers.
    case indexLost = "index-lost"
}
