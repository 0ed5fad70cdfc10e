package import Core
import Gossip
import Replication
package import Ring
import Storage
import Wire

// NodeCore: one node, whole, without a clock, a socket, a file or a thread.
//
// The machine takes an input and the current instant and appends effects. The shell (`Node`) and
// the simulator differ only in how they carry effects out; what happens between a message and its
// effects is the same code in both.
//
// The parts, each in a file of its own:
//
//     +Write        coordinating: write sessions, statuses, driving on what was left unfinished
//     +Bind         voting for a home record: log, sync, answer
//     +Apply        counting a bound batch: from the home record, from slices, from the log
//     +Read         coordinating reads
//     +ServeRead    answering them as a replica; converging before an answer
//     +Unite        what a reader's voters lack of each other: held here, or given
//     +Sync         comparing sets with a peer and pulling what is missing
//     +Close        freezing, closing and sealing segments: what is decided for good
//     +Absence      who is away for long is left out
//     +Life         first start, restart, lost disk: when this node votes
//     +Lives        what peers know of each other's disks
//     +Parking      level ANY: what is parked here until its voters are back
//     +Settle       what waits in the memtable is added before a flush or an audit
//     +Storage      log positions, flushes, jobs
//     +Compact      merging tables
//     +Retention    old windows become hours and days, and expire
//     +Disk         a disk that is nearly full, jobs that wait for room
//     +Forget       sealed history leaves memory and the log
//     +Release      payloads leave the log as soon as all hold them
//     +LogIndex     what is kept of the log though tables cover it gets indexes
//     +Sweep        room for dead letters; the bytes of those that are gone
//     +CopySource   giving a whole copy to a replica that begins anew
//     +CopyTarget   taking one
//     +CopyInstall  counting it
//     +History      looking up what was forgotten
//     +Clock        whether this node's wall clock may be believed
//     +ReplicaAudit comparing sums with a peer: lag, incidents, divergence
//     +Scrub        memory, files and folds against themselves and the log
//     +Verify       all files, for somebody who waits
//     +Survey       cluster-wide audits
//
// Invariants kept here, beyond those of the parts:
//
// - Nothing is answered for a record before `logSynced` covers it.
// - The memtable takes a batch in the same step in which the mark of it is appended, so that a
//   flush covers exactly the marks up to its LSN.
// - No dictionary's order reaches an effect.
// - Nobody copies it. `~Copyable` would promise that, and make the compiler check every access to
//   a value of this size for minutes.

package struct NodeMachine {
    package let configuration: CoreConfiguration
    package let ring: RingView
    /// The partitions that this node replicates.
    let mine: PartitionSet
    let peers: [NodeID]

    var gossip: GossipMachine
    var index: BatchIndex
    var random: RandomSource

    // Storage
    var log: LogCursor
    var synced: LSN
    var memtable: Memtable
    var memtableSince: Instant?
    var lastMark: LSN
    var flush = FlushState()
    /// What tables hold of the marks in the log.
    var coveredThrough: LSN
    /// The first file of the log that is still needed.
    var logStart: UInt32
    var forgetting: ForgetState
    var releasing: ReleaseState
    var logIndex: LogIndexState
    var sweeping: LetterSweepState
    var logLetters: LogLetters
    var letterRoom: LetterRoom
    var copying = CopyState()
    /// The cells of a copy on their way to tables.
    var copyTable: Memtable
    var tables: [TableHandle] {
        didSet {
            tableSums = TableSums(
                tables, dropped: retention.durable.dropped, partitions: configuration.partitions)
            compaction.isDue = true
        }
    }
    var tableSums: TableSums
    var compaction: CompactionState
    var retention: RetentionState
    var identity: NodeIdentity
    var jobs: [JobID: JobPurpose] = [:]
    var nextJob: UInt64 = 1

    // Batches between log and fold
    var pending = PendingRecords()
    var unsynced = UnsyncedRecords()
    var waiters: [SyncWaiter] = []
    var applies: [BatchID: ApplyWork] = [:]
    /// Batches that are counted by portions, in turns.
    var applyQueue: [BatchID] = []
    var settling = SettleState()

    // Sessions
    var nextTag: UInt64
    var writes: [Tag: WriteSession] = [:]
    /// No write wants to look at the time before.
    var writeDeadline = Instant.distant
    var statuses: [Tag: StatusSession] = [:]
    var reads: [Tag: ReadSession] = [:]
    var readOfRequest: [RequestID: Tag] = [:]
    var syncs: [Tag: SyncSession] = [:]
    var fetches: [Tag: FetchState] = [:]
    var awaited: [BatchID: [(tag: Tag, need: SyncNeed)]] = [:]
    var converging: [Tag: ConvergeState] = [:]
    /// Lists that are asked for while others take all the memory that there is for them.
    var waitingScans: [(ask: ReadAsk, peer: NodeID, deadline: Instant)] = []
    var unites: [Tag: UniteState] = [:]
    /// Second rounds by what they wait for: a batch, records on their way.
    var unitesOfBatch: [BatchID: [Tag]] = [:]
    var uniteOfFetch: [Tag: Tag] = [:]
    var latency = ReplicaLatency()
    /// Peers to which a message can be sent now. One may be alive, as others hear, and not yet be
    /// connected again: it is asked after those that are.
    var linked: Set<NodeID> = []
    /// No read wants to look at the time before.
    var readDeadline = Instant.distant

    // Converging and life
    var life: Life
    /// What is known of each peer's disk, and of this node's own lives; all of it is in the log.
    var memory: [NodeID: Standing]
    var lives: LivesState
    var doubt: Set<BatchID> = []
    var drives = DriveQueue()
    var closing: ClosingState
    var absence: AbsenceState
    var catchUpAt: Instant
    var catchUpTurn = 0
    var sweepAt: Instant
    var parking: ParkingLot
    var flushRequests: [FlushRequest] = []
    /// Jobs under way that write, to be run again where the disk is full.
    var writeJobs: [JobID: StorageJob] = [:]
    var deferred = DeferredJobs()
    var hasDiskRoom = true
    /// Bytes beyond the reserve.
    var diskSpare = UInt64.max
    var coldSpare = UInt64.max
    /// Voters that said lately that they take nothing new. No more than members.
    var inabilities: [NodeID: (why: BindAnswer.Inability, until: Instant)] = [:]
    var loadAt: Instant

    /// By how much most peers' clocks differ from this node's, while that is too much.
    var clockDoubt: Duration?

    /// The instant of the input that is being handled.
    var present: Instant
    var audit: AuditState

    /// Messages to itself, handled before `handle` returns.
    var inbox: [ReplicationMessage] = []
    package internal(set) var counters = Counters()

    package init(
        _ configuration: CoreConfiguration, start: inout NodeStart, seed: UInt64, now: Now,
        into effects: inout [Effect]
    ) {
        let ring = start.ring
        let recovered = start.recovered
        self.configuration = configuration
        self.ring = ring
        identity = start.identity
        let node = configuration.node
        mine = ring.partitions(of: node)
        peers = configuration.members.map(\.node).filter { $0 != node }
        var random = RandomSource(seed: seed)
        gossip = GossipMachine(
            self: node, members: peers, seeds: peers, cluster: configuration.clusterName,
            interval: configuration.gossipInterval, generation: start.identity.generation,
            random: random.fork(), now: now)
        self.random = random
        log = recovered.cursor
        synced = recovered.cursor.last
        tables = recovered.tables
        retention = RetentionState(recovered.manifest.retention)
        tableSums = TableSums(
            recovered.tables, dropped: recovered.manifest.retention.dropped,
            partitions: configuration.partitions)
        compaction = CompactionState(at: now.monotonic)
        audit = AuditState(
            at: now.monotonic, interval: configuration.auditInterval,
            scrubInterval: configuration.scrubInterval,
            isBlind: configuration.mutants.contains(.auditBlind))
        flush.nextTableID = recovered.manifest.nextTableID
        coveredThrough = recovered.manifest.coveredThrough
        logStart = recovered.manifest.logStart
        forgetting = ForgetState(
            files: recovered.history, nextID: recovered.manifest.nextHistoryID,
            nextAt: now.monotonic)
        releasing = ReleaseState(nextAt: now.monotonic)
        logIndex = LogIndexState(
            recovered.indexed, logStart: recovered.manifest.logStart, now: now.monotonic)
        sweeping = LetterSweepState(at: now.monotonic)
        logLetters = start.replay.letters
        letterRoom = LetterRoom(max: configuration.letterBytesMax)
        lastMark = start.replay.lastMark
        memory = start.replay.peers
        lives = LivesState(
            runs: start.replay.runs, edits: recovered.manifest.edits, now: now.monotonic)
        nextTag = random.next() >> 1
        life = .asking(since: now.monotonic, heard: [:])
        catchUpAt = now.monotonic + configuration.catchUpInterval
        sweepAt = now.monotonic
        loadAt = now.monotonic
        // A generator of its own, so that parking shifts no other draw.
        parking = ParkingLot(configuration.parkingOptions, seed: seed ^ 0x7061_726b)
        present = now.monotonic
        index = start.replay.takeIndex()
        closing = ClosingState(
            start.replay.marks, shared: Self.shares(of: mine, peers, ring), now: now.monotonic)
        absence = AbsenceState(start.replay.register, now: now.monotonic)
        copyTable = configuration.emptyMemtable
        memtable = start.replay.takeMemtable()
        if !memtable.isEmpty { memtableSince = now.monotonic }
        beginRun(into: &effects)
        announce()
        findDoubt(now, into: &effects)
        startParking(now, into: &effects)
        // A node without peers has nobody to ask.
        settleLife(now, into: &effects)
    }

    /// What each peer replicates of these partitions; who shares none is left out.
    private static func shares(
        of mine: PartitionSet, _ peers: [NodeID], _ ring: RingView
    ) -> [NodeID: PartitionSet] {
        var shared: [NodeID: PartitionSet] = [:]
        for peer in peers {
            let common = ring.partitions(of: peer).intersection(mine)
            if !common.isEmpty { shared[peer] = common }
        }
        return shared
    }

    // MARK: - Inputs

    package mutating func handle(_ input: Input, at now: Now, into effects: inout [Effect]) {
        present = now.monotonic
        switch input {
        case .tick:
            advanceApplies(now, into: &effects)
            advanceSettling(now, into: &effects)
        case .message(.gossip(let message), let peer):
            var steps: [GossipEffect] = []
            gossip.receive(message, from: peer, at: now, into: &steps)
            carry(steps, now, into: &effects)
        case .message(.replication(let message), let peer):
            receive(message, from: peer, now, into: &effects)
        case .message(.awaited(let message, let patience), let peer):
            let until = now.monotonic + patience
            receive(message, from: peer, until: until, now, into: &effects)
        case .connected(let peer):
            linked.insert(peer)
            gossip.connected(to: peer)
            greet(peer, now, into: &effects)
        case .disconnected(let peer, let refused):
            linked.remove(peer)
            if refused { gossip.connectionRefused(by: peer) }
            lose(peer, now, into: &effects)
        case .request(let request, let what, let deadline):
            begin(request, what, deadline, now, into: &effects)
        case .cancel(let request):
            cancel(request)
        case .disk(let hasRoom, let spare):
            setDiskRoom(hasRoom, spare)
        case .coldDisk(let spare):
            setColdRoom(spare)
        case .logSynced(let lsn):
            logSynced(through: lsn, now, into: &effects)
        case .completed(let job, let result):
            complete(job, result, now, into: &effects)
            advanceScans(now, into: &effects)
        case .parked(let result):
            completeParking(result, now, into: &effects)
        }
        drainInbox(now, into: &effects)
        advance(to: now, into: &effects)
        drainInbox(now, into: &effects)
    }

    /// What an owner looks at after every input. Whoever keeps the machine in a class would copy
    /// all of it to read a property.
    package struct Posture {
        package var nextDeadline: Instant
        /// Whether its answers count.
        package var hasVote: Bool
    }

    package var posture: Posture { Posture(nextDeadline: nextDeadline, hasVote: isVoting) }

    package mutating func step(
        _ input: Input, at now: Now, into effects: inout [Effect]
    ) -> Posture {
        handle(input, at: now, into: &effects)
        return posture
    }

    /// When `.tick` wants to come.
    package var nextDeadline: Instant {
        guard applyQueue.isEmpty else { return .zero }
        let next = min(gossip.nextDeadline, sweepAt, readDeadline)
        return settling.isWanted ? min(next, settling.resumesAt) : next
    }

    /// Sessions, rounds and ages are looked at this often: cheaper than a heap of timers, and their
    /// limits are far longer.
    static let sweepInterval: Duration = .milliseconds(20)
    /// While nobody waits for anything.
    static let idleSweepInterval: Duration = .milliseconds(100)

    /// `mutating`: a caller that may change the machine hands a copy of it, bit by bit, to what
    /// only reads it, and this is asked at every input.
    private var isBusy: Bool {
        mutating get {
            !isVoting || !writes.isEmpty || !reads.isEmpty || !statuses.isEmpty || !syncs.isEmpty
                || !fetches.isEmpty || !unites.isEmpty || !converging.isEmpty
                || copying.source != nil
        }
    }

    private mutating func advance(to now: Now, into effects: inout [Effect]) {
        if now.monotonic >= gossip.nextDeadline {
            var steps: [GossipEffect] = []
            gossip.advance(to: now, into: &steps)
            carry(steps, now, into: &effects)
        }
        advanceReads(now, into: &effects)
        guard now.monotonic >= sweepAt else {
            if isBusy { sweepAt = min(sweepAt, now.monotonic + Self.sweepInterval) }
            return
        }
        sweepAt = now.monotonic + (isBusy ? Self.sweepInterval : Self.idleSweepInterval)
        watchClock(now, into: &effects)
        advanceLife(now, into: &effects)
        advanceSessions(now, into: &effects)
        advanceDrives(now, into: &effects)
        advanceCatchUp(now, into: &effects)
        advanceAbsence(now, into: &effects)
        advanceClosing(now, into: &effects)
        advanceDeferred(now, into: &effects)
        advanceFlush(now, into: &effects)
        advanceRetention(now, into: &effects)
        advanceCompaction(now, into: &effects)
        advanceForgetting(now, into: &effects)
        advanceRelease(now, into: &effects)
        advanceLogIndex(now, into: &effects)
        advanceSweep(now, into: &effects)
        advanceCopying(now, into: &effects)
        advanceAudit(now, into: &effects)
        advanceParking(now, into: &effects)
    }

    private mutating func receive(
        _ message: ReplicationMessage, from peer: NodeID, until deadline: Instant? = nil,
        _ now: Now, into effects: inout [Effect]
    ) {
        // Whoever begins anew takes nothing else until it has begun.
        if copying.isReceiving, message.changesReplica { return }
        // Nor is anybody heard who was left out, before its next life.
        if message.changesReplica || message.givesRecords, isLeftOut(peer) { return }
        switch message {
        case .bind(let bind): receive(bind, from: peer, now, into: &effects)
        case .bindReply(let reply): receive(reply, from: peer, now, into: &effects)
        case .apply(let apply): receive(apply, from: peer, now, into: &effects)
        case .applySlices(let tag, let record):
            receiveSlices(record, tag, from: peer, now, into: &effects)
        case .applyReply(let reply): receive(reply, from: peer, now, into: &effects)
        case .finished(let id, let hash): finish(id, hash, now, into: &effects)
        case .statusAsk(let tag, let id, let createdAt):
            answerStatus(tag, id, createdAt, to: peer, into: &effects)
        case .statusReply(let reply): receive(reply, from: peer, now, into: &effects)
        case .read(let ask): serve(ask, from: peer, now, into: &effects)
        case .readReply(let reply): receive(reply, from: peer, now, into: &effects)
        case .syncAsk(let ask): answerSync(ask, to: peer, now, into: &effects)
        case .syncReply(let reply): receive(reply, from: peer, now, into: &effects)
        case .fetch(let tag, let items):
            serveFetch(tag, items, to: peer, until: deadline, into: &effects)
        case .fetched(let tag, let records, let isLast):
            receive(records, isLast, tag, from: peer, now, into: &effects)
        case .pull(let tag, let partitions):
            // Beyond the bound it is as if the message was lost: the asker's time runs out.
            guard syncs.count < ReplicationLimits.syncsMax else { return }
            beginSync(with: peer, partitions, .pulled(by: peer, tag), now, into: &effects)
        case .pulled(let tag): partnerPulled(tag, from: peer, now, into: &effects)
        case .closeAsk(let ask): answerClose(ask, to: peer, into: &effects)
        case .closeReply(let reply): receive(reply, from: peer, into: &effects)
        case .absence(let message): receive(message, from: peer, now, into: &effects)
        case .hello(let hello): receive(hello, from: peer, now, into: &effects)
        case .helloReply(let reply): receive(reply, from: peer, now, into: &effects)
        case .remember(let tag, let incarnation):
            remember(peer, incarnation, tag, into: &effects)
        case .remembered(let tag, let register):
            receiveRemembered(tag, register, from: peer, now, into: &effects)
        case .vouch(let standing): receive(standing, of: peer, into: &effects)
        case .audit(let message): receive(message, from: peer, now, into: &effects)
        case .copy(let message): receive(message, from: peer, now, into: &effects)
        }
    }

    private mutating func drainInbox(_ now: Now, into effects: inout [Effect]) {
        while !inbox.isEmpty {
            let messages = inbox
            inbox = []
            for message in messages {
                receive(message, from: configuration.node, now, into: &effects)
            }
        }
    }

    // MARK: - Outputs

    mutating func send(
        _ message: ReplicationMessage, to node: NodeID, into effects: inout [Effect]
    ) {
        if node == configuration.node {
            inbox.append(message)
        } else {
            effects.append(.send(.replication(message), to: node))
        }
    }

    /// What somebody waits for until `deadline`, if anybody does.
    mutating func send(
        _ message: ReplicationMessage, to node: NodeID, until deadline: Instant?,
        into effects: inout [Effect]
    ) {
        if let deadline, node != configuration.node {
            effects.append(.send(.awaited(message, patience: deadline - present), to: node))
        } else {
            send(message, to: node, into: &effects)
        }
    }

    mutating func newTag() -> Tag {
        nextTag += 1
        return Tag(nextTag)
    }

    func isReachable(_ node: NodeID) -> Bool {
        node == configuration.node || gossip.isReachable(node)
    }

    /// This node among them.
    var reachableNodes: Set<NodeID> {
        var nodes: Set<NodeID> = []
        for member in configuration.members where isReachable(member.node) {
            nodes.insert(member.node)
        }
        return nodes
    }

    func has(_ mutant: Mutant) -> Bool {
        configuration.mutants.contains(mutant)
    }

    private mutating func carry(
        _ steps: [GossipEffect], _ now: Now, into effects: inout [Effect]
    ) {
        for step in steps {
            switch step {
            case .send(let message, let peer):
                effects.append(.send(.gossip(message), to: peer))
            case .peerUp(let peer):
                effects.append(.report(.peerUp(peer)))
                greet(peer, now, into: &effects)
            case .peerDown(let peer):
                effects.append(.report(.peerDown(peer)))
                lose(peer, now, into: &effects)
            case .peerRestarted(let peer, _):
                greet(peer, now, into: &effects)
            case .statesChanged:
                break
            case .generationRefused(let peer, let generation):
                effects.append(.report(.generationRefused(peer, generation)))
            case .outranked(let generation):
                takeGeneration(above: generation, now, into: &effects)
            case .foreignCluster(let peer, let name):
                effects.append(
                    .report(.malformed(from: peer, "it belongs to the cluster \"\(name)\"")))
            }
        }
    }
}

extension ReplicationMessage {
    /// It may make the receiver hold or count something.
    fileprivate var changesReplica: Bool {
        switch self {
        case .bind, .apply, .applySlices, .finished, .pull, .syncReply: true
        case .bindReply, .applyReply, .statusAsk, .statusReply, .read, .readReply, .syncAsk,
            .fetch, .fetched, .pulled, .closeAsk, .closeReply, .absence, .hello, .helloReply,
            .remember, .remembered, .vouch, .copy, .audit:
            false
        }
    }

    fileprivate var givesRecords: Bool {
        if case .fetched = self { true } else { false }
    }
}
