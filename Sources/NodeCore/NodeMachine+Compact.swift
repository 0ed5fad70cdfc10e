import Core
import Replication
import Storage

// Tables become fewer (docs/decisions/0024-compaction.md). The picker decides, the machine says
// when, jobs do it step by step, and one edit of the manifest puts the table that was made in the
// place of those that it was made of.

extension NodeMachine {
    mutating func advanceCompaction(_ now: Now, into effects: inout [Effect]) {
        expireCompactionRequests(now, into: &effects)
        noteCold(now)
        switch compaction.phase {
        case .idle: beginCompaction(now, into: &effects)
        case .merging(let work, isRunning: false): continueCompaction(work, now, into: &effects)
        case .merging(_, isRunning: true), .committing: break
        case .awaitsFlush: commitCompaction(into: &effects)
        }
    }

    /// A client wants one table in each bucket.
    mutating func beginCompaction(
        for request: RequestID, _ deadline: Instant, _ now: Now, into effects: inout [Effect]
    ) {
        compaction.requests.append(FlushRequest(id: request, deadline: deadline))
        var held: [TableBucket: Int] = [:]
        for table in tables { held[TableBucket(table.meta), default: 0] += 1 }
        for (bucket, count) in held where count > 1 { compaction.wanted.insert(bucket) }
        compaction.nextAt = now.monotonic
        advanceCompaction(now, into: &effects)
    }

    private mutating func expireCompactionRequests(_ now: Now, into effects: inout [Effect]) {
        let late = compaction.requests.filter { $0.deadline <= now.monotonic }
        guard !late.isEmpty else { return }
        compaction.requests.removeAll { $0.deadline <= now.monotonic }
        for request in late {
            effects.append(.reply(request.id, .compacted(isDone: false)))
        }
    }

    private mutating func answerCompactionRequests(
        _ response: ClientResponse, into effects: inout [Effect]
    ) {
        compaction.wanted = []
        for request in compaction.requests { effects.append(.reply(request.id, response)) }
        compaction.requests = []
    }

    // MARK: - Beginning

    private mutating func beginCompaction(_ now: Now, into effects: inout [Effect]) {
        let isWanted = !compaction.wanted.isEmpty
        if !isWanted { answerCompactionRequests(.compacted(isDone: true), into: &effects) }
        guard isWanted || compaction.isDue && now.monotonic >= compaction.lookAt,
            !compaction.requests.isEmpty || now.monotonic >= compaction.nextAt,
            hasDiskRoom || hasColdRoom(now), !copying.isReceiving, !retention.isDue
        else { return }
        guard let plan = pickCompaction(now, into: &effects) else { return }
        let taken = Set(plan.inputs)
        let inputs = tables.filter { taken.contains($0.meta.id) }
        guard let first = inputs.first else { preconditionFailure("a compaction of nothing") }
        // A flush that is being written takes ids from the next on, one per bucket.
        var id = flush.nextTableID
        if case .writing = flush.phase { id += UInt64(StorageLimits.bucketsMax) }
        flush.nextTableID = id + 1
        let work = CompactionWork(
            plan: plan, bucket: TableBucket(first.meta),
            compaction: TableCompaction(
                inputs, id: id, as: plan.granularity, to: destination(at: plan.location),
                fault: compactionFault(plan)),
            earlierFlush: flush.frozen)
        compaction.phase = .merging(work, isRunning: false)
        continueCompaction(work, now, into: &effects)
    }

    private mutating func pickCompaction(
        _ now: Now, into effects: inout [Effect]
    ) -> CompactionPlan? {
        let picker = CompactionPicker(configuration.compaction)
        let avoided = compaction.avoided(at: now.monotonic)
        let metas = tables.map(\.meta)
        let room = hasDiskRoom ? diskSpare : 0
        let cold = coldRule(now)
        let isResting = now.monotonic >= compaction.restsAt
        for bucket in compaction.wanted.sorted() {
            let plan = picker.pickWhole(bucket, metas, room: room, cold: cold, without: avoided)
            if let plan { return plan }
            compaction.wanted.remove(bucket)
            guard metas.count(where: { TableBucket($0) == bucket }) > 1 else { continue }
            let why =
                avoided.isEmpty
                ? "the disk has no room for the tables of bucket \(bucket.bucket) a second time"
                : "an earlier compaction failed; see the node's log"
            answerCompactionRequests(.failed(.notReady(why)), into: &effects)
        }
        if compaction.wanted.isEmpty {
            answerCompactionRequests(.compacted(isDone: true), into: &effects)
        }
        // First what keeps tables few where flushes go on: years that are to become days, or to
        // move, may take hours.
        let floor = retention.durable.floor
        let plan =
            picker.pick(metas, isResting: false, room: room, cold: cold, without: avoided)
            ?? picker.pickCold(metas, cold, below: floor, buckets, without: avoided)
            ?? picker.pickRollup(
                metas, below: floor, buckets, isResting: isResting, room: room, cold: cold,
                without: avoided)
            ?? picker.pick(metas, isResting: isResting, room: room, cold: cold, without: avoided)
        if plan == nil {
            // Nothing changes before tables do, or rest, or the room, or some are no longer left
            // alone.
            let isPaused = now.monotonic < compaction.coldPausedUntil
            compaction.isDue = !isResting || !avoided.isEmpty || isPaused
            if compaction.isDue {
                let retryAt = now.monotonic + Self.roomRetryAfter
                compaction.lookAt = isResting ? retryAt : min(retryAt, compaction.restsAt)
            }
        }
        return plan
    }

    private func compactionFault(_ plan: CompactionPlan) -> CompactionFault? {
        if has(.compactionDropsInput) { return .dropsInput }
        if has(.coldSourceFirst), plan.location == .cold { return .leavesUnsynced }
        return has(.compactionLosesCell) ? .losesCell : nil
    }

    // MARK: - Steps

    private mutating func continueCompaction(
        _ work: CompactionWork, _ now: Now, into effects: inout [Effect]
    ) {
        let isCold = work.compaction.destination.location == .cold
        guard !copying.isReceiving, isCold || hasDiskRoom else {
            // What is here is about to be set aside, or others need the room.
            compaction.phase = .idle
            let purpose = isCold ? JobPurpose.coldRemoval : .removal
            run(.abandonCompaction(work.compaction), purpose, into: &effects)
            return
        }
        let isAwaited = !compaction.requests.isEmpty
        if case .writing = flush.phase, !isAwaited { return }
        guard now.monotonic >= compaction.nextAt || isAwaited else { return }
        compaction.steppedAt = now.monotonic
        compaction.phase = .merging(work, isRunning: true)
        let bytes = configuration.compactionStepBytes
        run(.compact(work.compaction, bytes: bytes), .compact, into: &effects)
    }

    mutating func compactionStepped(
        _ progress: TableCompaction.Progress, _ table: TableHandle?, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard case .merging(var work, isRunning: true) = compaction.phase else {
            preconditionFailure("a compaction went on that nobody began")
        }
        counters.compactionBytesRead += progress.read - work.progress.read
        counters.compactionBytesWritten += progress.written - work.progress.written
        work.progress = progress
        let share = configuration.compactionShare
        let pause = (now.monotonic - compaction.steppedAt) * (100 - share) / share
        compaction.nextAt = now.monotonic + min(pause, Self.pauseMax)
        if let table {
            compaction.phase = .awaitsFlush(work, table)
            commitCompaction(into: &effects)
        } else {
            compaction.phase = .merging(work, isRunning: false)
            continueCompaction(work, now, into: &effects)
        }
    }

    // MARK: - The edit

    /// Ids enter the manifest ascending, but for what replaces tables: so a flush that took its ids
    /// before this compaction counts first.
    mutating func commitCompaction(into effects: inout [Effect]) {
        guard case .awaitsFlush(let work, let table) = compaction.phase else { return }
        if let earlier = work.earlierFlush, flush.frozen == earlier { return }
        guard !copying.isReceiving else {
            compaction.phase = .idle
            removeTables([table.meta.path], into: &effects)
            return
        }
        compaction.phase = .committing(work, table)
        run(
            .commit(ManifestEdit(addTables: [table.meta], removeTables: replaced(by: work))),
            .compactionCommit, into: &effects)
    }

    private func replaced(by work: CompactionWork) -> [UInt64] {
        has(.compactionKeepsInput) ? Array(work.plan.inputs.dropFirst()) : work.plan.inputs
    }

    mutating func compactionCommitted(_ now: Now, into effects: inout [Effect]) {
        guard case .committing(let work, let table) = compaction.phase else {
            preconditionFailure("a compaction was committed that nobody began")
        }
        let removed = Set(work.plan.inputs)
        tables = tables.filter { !removed.contains($0.meta.id) } + [table]
        if work.plan.isWhole { compaction.wanted.remove(work.bucket) }
        compaction.phase = .idle
        counters.compactions += 1
        if work.isMove { counters.coldMoves += 1 }
        if work.bucket.granularity != table.meta.granularity { counters.rollups += 1 }
        let (count, read) = (work.plan.inputs.count, work.progress.read)
        effects.append(
            .report(
                work.isMove
                    ? .moved(tables: count, read: read, written: table.meta.size)
                    : .compacted(tables: count, read: read, written: table.meta.size)))
        // Reads hold the files open; a verification opens them by name.
        let gone = Set(replaced(by: work))
        let paths = work.compaction.inputs.map(\.meta).filter { gone.contains($0.id) }.map(\.path)
        forgetting.removals.append(ForgetState.Removal(after: nextJob, tables: paths))
        advanceCompaction(now, into: &effects)
    }

    // MARK: - Failing

    /// Nothing is lost: the inputs count as before. They are left alone for a while.
    mutating func compactionFailed(_ error: StorageError, into effects: inout [Effect]) {
        guard case .merging(let work, isRunning: true) = compaction.phase else {
            preconditionFailure("a compaction failed that nobody began")
        }
        compaction.phase = .idle
        if work.isMove { counters.coldMovesFailed += 1 }
        switch error {
        case _ where work.compaction.destination.location == .cold && !error.isOfContent:
            coldDiskFailed(error, work, into: &effects)
        case .diskFull:
            compaction.nextAt = present + Self.roomRetryAfter
            effects.append(.report(.diskFull("\(error)")))
        case .syncFailed, .writerDead:
            effects.append(.halt("\(error)"))
        case .damaged, .digestMismatch, .failed, .notFound, .newerFormat, .locked,
            .coldTierMissing, .scanTooLarge:
            counters.compactionsFailed += 1
            compaction.avoid(work.plan.inputs, until: present + Self.failureRetryAfter)
            effects.append(.report(.compactionFailed("\(error)")))
            noteDamage(error, into: &effects)
            if case .digestMismatch = error {
                reportDamage(.compaction("\(error)"), into: &effects)
            }
        }
        answerCompactionRequests(.failed(.storage("\(error)")), into: &effects)
    }

    /// A step may have taken long because the whole process was stopped.
    static let pauseMax: Duration = .seconds(10)
    static let roomRetryAfter: Duration = .seconds(10)
    static let failureRetryAfter: Duration = .seconds(600)

    /// A compaction is under way, or will be once tables rest, if no flush adds to them.
    package var hasCompactionAhead: Bool {
        let picker = CompactionPicker(configuration.compaction)
        let metas = tables.map(\.meta)
        let cold = ColdRule(before: compaction.coldBefore)
        // With less room, or beside tables that are left alone, others are picked.
        return isCompacting || compaction.isDue || picker.pick(metas) != nil
            || picker.pickCold(metas, cold, below: retention.durable.floor, buckets) != nil
            || picker.pickRollup(metas, below: retention.durable.floor, buckets) != nil
    }

    /// A compaction is under way.
    package var isCompacting: Bool { !compaction.isIdle }
}
