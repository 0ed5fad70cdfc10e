import Core
import Gossip
import Replication
import Ring
import Storage

/// What a node has forgotten, and what it is about to.
struct ForgetState {
    /// One checkpoint at a time. Each phase may be given up but the last.
    enum Phase {
        case idle
        /// Everything below has marks up to `through`: tables must cover them.
        case flushing(below: Segment, through: LSN)
        case writing(below: Segment, HistoryPlan)
        /// What of the log's head is needed has been said again; it must be on disk.
        case syncing(below: Segment, HistoryPlan, HistoryHandle?, state: LogAppend)
        case committing(HistoryCheckpoint)
    }

    var phase = Phase.idle
    /// Open history files, ascending by id.
    var files: [HistoryHandle]
    var nextID: UInt64
    /// Who asks for which forgotten id, and how many in all.
    var lookUps: [BatchID: [HistoryAsker]] = [:]
    var askers = 0
    /// Files that the manifest let go of, until nobody reads them any more.
    var removals: [Removal] = []
    /// Files that were found damaged and that nobody restores: they are merged no more.
    var damaged: Set<UInt64> = []
    var nextAt: Instant

    struct Removal {
        /// Jobs before this one may still read them.
        var after: UInt64
        var logsBefore: UInt32?
        var history: [UInt64] = []
        /// By their paths.
        var tables: [String] = []
    }
}

/// The edit that forgets.
struct HistoryCheckpoint {
    var below: Segment
    var file: HistoryHandle?
    var base: HistoryBase
    var removed: [UInt64]
    var logStart: UInt32?
}

// Sealed history leaves memory and the log (docs/decisions/0020-forgetting.md).

extension NodeMachine {
    mutating func advanceForgetting(_ now: Now, into effects: inout [Effect]) {
        advanceRemovals(into: &effects)
        guard now.monotonic >= forgetting.nextAt else { return }
        forgetting.nextAt = now.monotonic + configuration.closeInterval
        switch forgetting.phase {
        case .idle:
            beginForgetting(now, into: &effects)
        case .flushing(let below, let through):
            if coveredThrough >= through {
                writeHistory(below: below, now, into: &effects)
            } else {
                wantFlush()
            }
        case .writing, .syncing, .committing:
            break
        }
    }

    private mutating func beginForgetting(_ now: Now, into effects: inout [Effect]) {
        // A full disk is no reason against it: what it writes is less than what it frees.
        guard let segments = configuration.forgetSegmentsMin, isVotingOnReads, mayForgetWithPeers
        else { return }
        let below = forgettable
        guard let oldest = index.heldSegments.first, oldest < below,
            below.number - oldest.number >= segments, isSettled(below: below), sweeping.yields,
            yieldRelease()
        else { return }
        if coveredThrough >= lastMark || has(.forgetsUnflushed) {
            writeHistory(below: below, now, into: &effects)
        } else {
            forgetting.phase = .flushing(below: below, through: lastMark)
            wantFlush()
        }
    }

    private var forgettable: Segment {
        has(.forgetsUnsealed) ? closing.durable.closed : closing.durable.sealed
    }

    /// Who is away or recovers may still need what is in the log: it would have to copy all.
    var mayForgetWithPeers: Bool {
        copying.source == nil
            && closing.shared.keys.allSatisfy { peer in
                isLeftOut(peer) || isReachable(peer) && gossip.state(of: peer)?.status == .normal
            }
    }

    /// Nothing below is under way in any part of this node.
    private func isSettled(below end: Segment) -> Bool {
        let driven = Set(drives.ids)
        return index.ids(below: end).allSatisfy { id in
            guard let entry = index[id], entry.isBound, !driven.contains(id), applies[id] == nil,
                awaited[id] == nil, unitesOfBatch[id] == nil
            else { return false }
            let isWhole = entry.applied.isSuperset(of: entry.touched.intersection(mine))
            guard let record = entry.record else {
                return isWhole && entry.slices.allSatisfy(\.isDurable)
            }
            return isWhole && record.isDurable && entry.isFinished
        }
    }

    // MARK: - The history file

    private mutating func writeHistory(
        below end: Segment, _ now: Now, into effects: inout [Effect]
    ) {
        guard isVotingOnReads, isSettled(below: end) else {
            forgetting.phase = .idle
            return
        }
        var drafts: [HistoryDraft] = []
        for id in index.ids(below: end) {
            guard let entry = index[id], mine.contains(entry.home), let draft = entry.outcome
            else { continue }
            drafts.append(draft)
        }
        var plan = historyPlan(drafts, outcomesFrom: outcomesFrom(below: end, now))
        plan.husksFrom = end
        forgetting.phase = .writing(below: end, plan)
        run(.writeHistory(plan), .writeHistory, into: &effects)
    }

    /// A new history file with these outcomes, which takes in files of one level where there are
    /// enough of them.
    mutating func historyPlan(
        _ drafts: [HistoryDraft], outcomesFrom: Segment
    ) -> HistoryPlan {
        let merged = filesToMerge
        defer { forgetting.nextID += 1 }
        return HistoryPlan(
            id: forgetting.nextID, level: merged.first.map { $0.meta.level + 1 } ?? 0,
            segmentLength: configuration.segmentLength, drafts: drafts, merged: merged,
            outcomesFrom: outcomesFrom)
    }

    /// Files of one level, once there are enough of them and room for both.
    private var filesToMerge: [HistoryHandle] {
        guard hasDiskRoom else { return [] }
        for level in Set(forgetting.files.map(\.meta.level)).sorted() {
            let files = forgetting.files.filter {
                $0.meta.level == level && !forgetting.damaged.contains($0.meta.id)
            }
            let outcomes = files.reduce(0) { $0 + $1.meta.outcomes }
            if files.count >= StorageLimits.historyFilesMax,
                outcomes <= StorageLimits.historyOutcomesMax
            {
                return files
            }
        }
        return []
    }

    /// Outcomes of older batches are dropped where files are merged. Only a clock that others
    /// believe may say so.
    private func outcomesFrom(below end: Segment, _ now: Now) -> Segment {
        let held = index.base.outcomesFrom
        guard mayFreeze(now) else { return held }
        let kept = Segment(
            createdAt: now.wall - configuration.outcomeRetention,
            length: configuration.segmentLength)
        return max(held, min(kept, end))
    }

    /// A record or an older file cannot be read. What is in the log stays there; where nobody can
    /// restore it, the rest goes on: without the file at once, and with the record after a while.
    mutating func historyFailed(_ error: StorageError, into effects: inout [Effect]) {
        forgetting.phase = .idle
        releasing.phase = .idle
        if let file = forgetting.files.first(where: { error.path?.hasSuffix($0.meta.path) == true })
        {
            forgetting.damaged.insert(file.meta.id)
        } else {
            forgetting.nextAt = present + Self.failureRetryAfter
            releasing.nextAt = forgetting.nextAt
        }
        noteDamage(error, into: &effects)
    }

    mutating func historyWritten(_ file: HistoryHandle?, into effects: inout [Effect]) {
        guard case .writing(let below, let plan) = forgetting.phase else {
            preconditionFailure("a history file was written without a checkpoint")
        }
        let append = appendState(into: &effects)
        forgetting.phase = .syncing(below: below, plan, file, state: append)
    }

    /// Says again what the log's head says but of batches.
    mutating func appendState(into effects: inout [Effect]) -> LogAppend {
        let peers = memory.sorted { $0.key < $1.key }.map {
            PeerMemory(node: $0.key, standing: $0.value)
        }
        let state = LogState(
            marks: closing.pending, peers: peers, runs: lives.runs, register: absence.register)
        return appendSynced(.state, state.encoded, into: &effects)
    }

    // MARK: - The edit

    mutating func commitForgetting(into effects: inout [Effect]) {
        guard case .syncing(let below, let plan, let file, let state) = forgetting.phase,
            state.lsn <= synced
        else { return }
        // What is forgotten was settled before that record, which is on disk: a log that ends
        // earlier has lost its end.
        let base = index.base(
            of: mine, below: below, through: max(state.lsn, index.base.through),
            outcomesFrom: plan.outcomesFrom)
        // A file of outcomes that are all too old goes without being read.
        let expired = forgetting.files.filter {
            $0.meta.lastSegment < plan.outcomesFrom && $0.meta.letters == 0
        }
        let removed = Set((plan.merged + expired).map(\.meta.id)).sorted()
        var edit = ManifestEdit(logStart: logStart(above: below, state))
        edit.addHistory = [file].compactMap(\.?.meta)
        edit.removeHistory = removed
        edit.base = base
        forgetting.phase = .committing(
            HistoryCheckpoint(
                below: below, file: file, base: base, removed: removed, logStart: edit.logStart))
        run(.commit(edit), .forgetCommit, into: &effects)
    }

    /// The oldest file of the log of which a record is needed, where older ones are there.
    private func logStart(above end: Segment, _ state: LogAppend) -> UInt32? {
        let own = state.position.file
        let first = min(own, index.oldestFile(from: end) ?? own)
        return first > logStart ? first : nil
    }

    mutating func forgotten(_ now: Now, into effects: inout [Effect]) {
        guard case .committing(let checkpoint) = forgetting.phase else {
            preconditionFailure("a checkpoint was committed that nobody began")
        }
        let ids = index.ids(below: checkpoint.below)
        for id in ids { pending.remove(id) }
        index.forget(below: checkpoint.below, base: checkpoint.base)
        replaceHistory(checkpoint.removed, by: checkpoint.file, logStart: checkpoint.logStart)
        forgetting.phase = .idle
        counters.forgotten += UInt64(ids.count)
        effects.append(
            .report(
                .forgot(
                    below: checkpoint.below, batches: ids.count, logStart: checkpoint.logStart)))
    }

    /// The manifest lists `file` instead of these history files, and the log from `start` on where
    /// that moved; `through` as in `BatchIndex.release`.
    mutating func replaceHistory(
        _ removed: [UInt64], by file: HistoryHandle?, logStart start: UInt32?,
        through: LSN = .zero
    ) {
        forgetting.files.removeAll { removed.contains($0.meta.id) }
        if let file {
            forgetting.files.append(file)
            // Letters that came from the log may have been retired there.
            if file.letterBytes > 0, sweeping.yields { sweeping.isDue = true }
        }
        if start != nil || !removed.isEmpty {
            forgetting.removals.append(
                ForgetState.Removal(after: nextJob, logsBefore: start, history: removed))
        }
        guard let start else { return }
        logStart = start
        logLetters.release(before: start)
        index.release(before: start, through: through)
    }

    /// Files go when nobody reads them any more.
    private mutating func advanceRemovals(into effects: inout [Effect]) {
        guard let removal = forgetting.removals.first, audit.recounts.isEmpty else { return }
        for (id, purpose) in jobs {
            // Whether any holds on does not depend on the order.
            if id.number < removal.after, purpose.keepsFiles { return }
            if case .deadLetters(let scan) = purpose, scan.began < removal.after { return }
        }
        forgetting.removals.removeFirst()
        if let start = removal.logsBefore {
            run(.removeLogs(before: start), .removal, into: &effects)
        }
        if !removal.history.isEmpty {
            run(.removeHistory(removal.history), .removal, into: &effects)
        }
        if !removal.tables.isEmpty {
            removeTables(removal.tables, into: &effects)
        }
    }

    mutating func removeTables(_ paths: [String], into effects: inout [Effect]) {
        let hot = paths.filter { !FileNames.isCold($0) }
        let cold = paths.filter { FileNames.isCold($0) }
        if !hot.isEmpty { run(.removeTables(hot), .removal, into: &effects) }
        if !cold.isEmpty { run(.removeTables(cold), .coldRemoval, into: &effects) }
    }
}
