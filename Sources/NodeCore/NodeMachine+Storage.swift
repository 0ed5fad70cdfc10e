import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// What a storage job was for.
enum JobPurpose {
    /// The record, or the slices, that a batch is counted from.
    case apply(BatchID)
    /// The record that a write session drives on.
    case drive(Tag)
    case fetch(ServedFetch)
    case read(ServedRead)
    case deadLetters(DeadLetterScan)
    /// Records of which a read wants what they add to its rows.
    case unite(Tag)
    case flushTables
    case flushCommit
    /// A step of a compaction, and the edit with which it counts.
    case compact
    case compactionCommit
    /// The floor of retention, and the tables that it lets go.
    case retentionCommit
    /// The identity of a new incarnation, or of a later generation.
    case promotion
    /// The identity of a life without a vote.
    case demotion
    case generation(Int64)
    /// A checkpoint's history file, and the edit with which it counts.
    case writeHistory
    case forgetCommit
    /// The edit with which payloads leave the log.
    case releaseCommit
    /// Which letters are retired, a history file without their bytes, and the edit with which it
    /// counts.
    case sweepMarks
    case sweepHistory
    case sweepCommit
    case lookUp(BatchID)
    /// The index of this file of the log.
    case logIndex(UInt32)
    /// Files that the manifest let go of.
    case removal
    /// The same on the cold disk, which ends no process: what stays there goes at the next start.
    case coldRemoval
    /// Copies of records that will not count.
    case keeping
    /// A piece of the copy that is given under this tag.
    case copyPart(Tag)
    /// The files of a copy that is taken, the edit before it and the one with which it counts.
    case copyTables
    case copyHistory
    case clearing
    case copyCommit
    /// A step over one file, by its turn, or of a whole verification; one partition from the log.
    case scrub(DataFile)
    case verify(DataFile)
    case recount(PartitionID)

    /// Files that it may read stay until it ends. Tables and history files are read through
    /// handles, which outlive their names, and what a verification finds is judged by whether the
    /// file is still held: where these stand on a cold disk that hangs, nothing waits for them.
    var keepsFiles: Bool {
        switch self {
        case .read, .sweepMarks, .compact, .coldRemoval: false
        case .scrub(let file), .verify(let file): !file.isCold
        default: true
        }
    }
}

/// The memtable on its way to files. One flush at a time.
struct FlushState {
    enum Phase {
        case idle
        case writing
        /// The files are there; the log must be durable through `through` before the manifest says
        /// that they cover it: else a mark could be lost whose cells are in a file, and be counted
        /// again.
        case awaitsLog([TableHandle], through: LSN)
        case committing([TableHandle])
    }

    var phase = Phase.idle
    var frozen: FrozenMemtable?
    var nextTableID: UInt64 = 1
    /// Requests that this flush answers; later ones wait for the next.
    var requests: [FlushRequest] = []
}

/// Whoever waits until what was in memory is in files, or in fewer of them.
struct FlushRequest {
    var id: RequestID
    var deadline: Instant
}

extension NodeMachine {
    /// Appends a record that somebody waits for.
    @discardableResult
    mutating func appendSynced(
        _ kind: LogKind, _ payload: [UInt8], into effects: inout [Effect]
    ) -> LogAppend {
        let append = log.append(kind: kind.rawValue, payload: payload)
        effects.append(.append(append))
        effects.append(.sync)
        return append
    }

    mutating func run(_ job: StorageJob, _ purpose: JobPurpose, into effects: inout [Effect]) {
        if job.isCommit, deferred.holdsCommit {
            deferred.insert(job, purpose, dueAt: .zero)
        } else {
            start(job, purpose, into: &effects)
        }
    }

    mutating func start(_ job: StorageJob, _ purpose: JobPurpose, into effects: inout [Effect]) {
        let id = JobID(nextJob)
        nextJob += 1
        jobs[id] = purpose
        if job.isRepeatable { writeJobs[id] = job }
        effects.append(.run(id, job))
    }

    mutating func complete(
        _ job: JobID, _ result: Result<StorageResult, StorageError>, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard let purpose = jobs.removeValue(forKey: job) else {
            preconditionFailure("job \(job.number) completed twice")
        }
        let written = writeJobs.removeValue(forKey: job)
        switch result {
        case .success(let value): succeed(purpose, value, now, into: &effects)
        case .failure(let error):
            guard !deferJob(written, purpose, error, now, into: &effects) else { return }
            fail(purpose, error, into: &effects)
        }
    }

    private mutating func succeed(
        _ purpose: JobPurpose, _ value: StorageResult, _ now: Now, into effects: inout [Effect]
    ) {
        if case .committed(let state) = value { lives.edits = max(lives.edits, state.edits) }
        switch (purpose, value) {
        case (.apply(let id), .records(let records)):
            applyLoaded(id, records.map(\.payload), now, into: &effects)
        case (.drive(let tag), .records(let records)):
            recordLoaded(records.first?.payload, for: tag, now, into: &effects)
        case (.fetch(let fetch), .records(let records)):
            fetchLoaded(fetch, records.map(\.payload), into: &effects)
        case (.deadLetters(let scan), .records(let records)):
            deadLettersLoaded(scan, records.map(\.payload), into: &effects)
        case (.deadLetters(let scan), .scanned(let marks)):
            listLetters(scan, marks, into: &effects)
        case (.deadLetters(let scan), .letters(let items, let total)):
            olderLettersLoaded(scan, items, total, into: &effects)
        case (.unite(let tag), .records(let records)):
            uniteLoaded(tag, records.map(\.payload), into: &effects)
        case (.read(let read), .rows(let rows)):
            finish(read, .read(.series(rows), read.state), into: &effects)
        case (.read(let read), .scanned(let aggregate)):
            finish(read, read.answer(aggregate), into: &effects)
        case (.flushTables, .tables(let tables)):
            tablesWritten(tables, into: &effects)
        case (.flushCommit, .committed):
            flushCommitted(now, into: &effects)
        case (.compact, .compacting(let progress, let table)):
            compactionStepped(progress, table, now, into: &effects)
        case (.compactionCommit, .committed):
            compactionCommitted(now, into: &effects)
        case (.retentionCommit, .committed):
            retentionCommitted(now, into: &effects)
        case (.promotion, .committed):
            promotionStored(now, into: &effects)
        case (.demotion, .committed):
            break
        case (.generation(let generation), .committed):
            // Of several that were asked for, the greatest is enough.
            guard generation == identity.generation else { return }
            let present = gossip.generation(of: configuration.node) ?? 0
            gossip.takeGeneration(generation, replacesVoid: present > generation)
        case (.writeHistory, .history(let file)):
            if case .writing(let plan) = releasing.phase {
                releaseWritten(plan, file, into: &effects)
            } else {
                historyWritten(file, into: &effects)
            }
        case (.releaseCommit, .committed):
            released(into: &effects)
        case (.forgetCommit, .committed):
            forgotten(now, into: &effects)
        case (.lookUp(let id), .outcome(let entry)):
            lookedUp(id, entry, now, into: &effects)
        case (.logIndex(let file), .indexed(let isDone)):
            logIndexed(file, isDone)
        case (.removal, .removed), (.coldRemoval, .removed), (.keeping, .kept):
            break
        case (.scrub(let file), .verifying(let progress)):
            scrubbed(file, progress, into: &effects)
        case (.verify(let file), .verifying(let progress)):
            verified(file, progress, into: &effects)
        case (.recount(let partition), .recounted(let sum)):
            recounted(partition, sum, into: &effects)
        default:
            succeedCopying(purpose, value, now, into: &effects)
        }
    }

    private mutating func succeedCopying(
        _ purpose: JobPurpose, _ value: StorageResult, _ now: Now, into effects: inout [Effect]
    ) {
        switch (purpose, value) {
        case (.copyPart(let tag), .cells), (.copyPart(let tag), .entries),
            (.copyPart(let tag), .husks):
            copyPartRead(tag, value, into: &effects)
        case (.copyTables, .tables(let tables)):
            copyTablesWritten(tables, now, into: &effects)
        case (.copyHistory, .history(let file)):
            copyHistoryWritten(file, now, into: &effects)
        case (.clearing, .committed):
            wasSetAside(now, into: &effects)
        case (.copyCommit, .committed):
            copyCommitted(now, into: &effects)
        default:
            succeedSweeping(purpose, value, now, into: &effects)
        }
    }

    private mutating func succeedSweeping(
        _ purpose: JobPurpose, _ value: StorageResult, _ now: Now, into effects: inout [Effect]
    ) {
        switch (purpose, value) {
        case (.sweepMarks, .scanned(let marks)):
            sweepMarksRead(marks, now, into: &effects)
        case (.sweepHistory, .swept(let result)):
            historySwept(result, now, into: &effects)
        case (.sweepCommit, .committed):
            sweepCommitted()
        default:
            preconditionFailure("a storage job gave what it was not asked for")
        }
    }

    /// A failed read is an error that says so; a failed write ends the process, since what is on
    /// disk is no longer known.
    private mutating func fail(
        _ purpose: JobPurpose, _ error: StorageError, into effects: inout [Effect]
    ) {
        switch purpose {
        case .read(let read):
            finish(read, .failure(error), into: &effects)
            noteDamage(error, into: &effects)
        case .deadLetters(let scan):
            finish(scan.read, .failure(error), into: &effects)
            noteDamage(error, into: &effects)
        case .unite(let tag):
            failUnite(tag, "\(error)", isDamage: true, into: &effects)
        case .fetch(let fetch):
            send(.fetched(fetch.tag, [], isLast: true), to: fetch.peer, into: &effects)
        case .scrub, .verify, .recount:
            verificationFailed(purpose, error, into: &effects)
        case .copyPart(let tag):
            copyPartFailed(tag, error)
            noteDamage(error, into: &effects)
        case .compact:
            compactionFailed(error, into: &effects)
        case .coldRemoval:
            effects.append(.report(.coldDiskFailed("\(error)")))
        case .logIndex(let file):
            logIndexFailed(file, error, into: &effects)
        case .lookUp(let id):
            lookUpFailed(id, error, into: &effects)
            noteDamage(error, into: &effects)
        case .sweepMarks:
            sweepFailed(error, into: &effects)
        case .sweepHistory where !error.isFatal:
            sweepFailed(error, into: &effects)
        case .writeHistory where error.isDamage:
            historyFailed(error, into: &effects)
        case .apply, .drive, .flushTables, .flushCommit, .compactionCommit, .retentionCommit,
            .promotion, .demotion, .generation, .writeHistory, .forgetCommit, .releaseCommit,
            .sweepHistory, .sweepCommit, .removal, .keeping,
            .copyTables, .copyHistory, .clearing, .copyCommit:
            effects.append(.halt("\(error)"))
        }
    }

    // MARK: - Flush

    /// Writes come faster than flushes: new ones are refused until it is better.
    var isBehindWithFlushes: Bool {
        flush.frozen != nil && memtable.bytes > configuration.heldBytesMax
    }

    /// Bytes in files and in memory: what `status` calls load.
    var load: UInt64 {
        tables.reduce(UInt64(memtable.bytes)) { $0 + $1.meta.size }
    }

    /// Gossip is no metrics system: the load is told at the start and once a minute.
    private mutating func announceLoad(_ now: Now) {
        guard now.monotonic >= loadAt else { return }
        loadAt = now.monotonic + .seconds(60)
        gossip.set(.load, "\(load)")
    }

    mutating func advanceFlush(_ now: Now, into effects: inout [Effect]) {
        announceLoad(now)
        expireFlushRequests(now, into: &effects)
        let isLarge = memtable.bytes >= configuration.memtableBytesMax
        let isOld =
            memtableSince.map { now.monotonic >= $0 + configuration.memtableAgeMax } ?? false
        if isLarge || isOld { wantFlush() }
    }

    /// A disk without room may keep a flush waiting for as long as it is full.
    private mutating func expireFlushRequests(_ now: Now, into effects: inout [Effect]) {
        let late = (flush.requests + flushRequests).filter { $0.deadline <= now.monotonic }
        guard !late.isEmpty else { return }
        flush.requests.removeAll { $0.deadline <= now.monotonic }
        flushRequests.removeAll { $0.deadline <= now.monotonic }
        for request in late {
            let why =
                "the flush is not done yet; it goes on"
                + (hasDiskRoom ? "" : " once the disk has room")
            effects.append(.reply(request.id, .failed(.notReady(why))))
        }
    }

    mutating func beginFlush(into effects: inout [Effect]) {
        guard flush.frozen == nil else { return }
        // What is being set aside goes to no table any more.
        if case .clearing = copying.phase { return }
        flush.requests = flushRequests
        flushRequests = []
        guard !memtable.isEmpty else {
            for request in flush.requests { effects.append(.reply(request.id, .flushed)) }
            flush.requests = []
            return
        }
        memtableSince = nil
        let frozen = memtable.freeze(through: lastMark)
        flush.frozen = frozen
        flush.phase = .writing
        // The marks that it covers go to disk while the files are written.
        effects.append(.sync)
        run(.writeTables(frozen, firstID: flush.nextTableID), .flushTables, into: &effects)
    }

    private mutating func tablesWritten(_ written: [TableHandle], into effects: inout [Effect]) {
        guard let frozen = flush.frozen else {
            preconditionFailure("tables were written without a flush")
        }
        flush.nextTableID = max(
            flush.nextTableID, (written.map(\.meta.id).max() ?? 0) + 1)
        flush.phase = .awaitsLog(written, through: frozen.through)
        commitFlushIfDurable(into: &effects)
    }

    mutating func commitFlushIfDurable(into effects: inout [Effect]) {
        guard case .awaitsLog(let written, let through) = flush.phase, through <= synced else {
            return
        }
        flush.phase = .committing(written)
        run(
            .commit(ManifestEdit(addTables: written.map(\.meta), coveredThrough: through)),
            .flushCommit, into: &effects)
    }

    private mutating func flushCommitted(_ now: Now, into effects: inout [Effect]) {
        guard case .committing(let written) = flush.phase, let frozen = flush.frozen else {
            preconditionFailure("a manifest edit was committed without a flush")
        }
        tables.append(contentsOf: written)
        compaction.lookAt = now.monotonic
        compaction.restsAt = now.monotonic + configuration.compactionRestAge
        coveredThrough = max(coveredThrough, frozen.through)
        flush.frozen = nil
        flush.phase = .idle
        counters.flushes += 1
        counters.flushedBytes += written.reduce(0) { $0 + $1.meta.size }
        effects.append(.report(.flushed(cells: frozen.cells, tables: written.count)))
        for request in flush.requests { effects.append(.reply(request.id, .flushed)) }
        flush.requests = []
        copySourceFlushed(into: &effects)
        if !flushRequests.isEmpty { wantFlush() }
    }
}
