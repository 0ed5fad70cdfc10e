import Core
import Gossip
import Replication
import Ring
import Storage

// Room for dead letters, and their bytes once nobody can see them any more
// (docs/decisions/0035-dead-letter-room.md).
//
// A coordinator refuses a batch with dead letters while a voter of its home has no room for them.
// The voters themselves take what they are sent: what is bound somewhere must be bound, and what
// is acknowledged is never dropped. So the bound is passed by what is under way when it is reached.

extension NodeMachine {
    /// In the log as long as their files are there, and in the history.
    var letterBytes: UInt64 {
        forgetting.files.reduce(logLetters.bytes) { $0 + $1.letterBytes }
    }

    mutating func judgeLetterRoom() {
        let wasFull = letterRoom.isFull
        letterRoom.judge(held: letterBytes)
        guard letterRoom.isFull != wasFull else { return }
        gossip.set(.deadLetters, letterRoom.isFull ? Self.lettersFull : "open")
        guard letterRoom.isFull else { return }
        // What was purged since the last look may be just the room that is wanted.
        sweeping.isDue = true
        sweeping.nextAt = min(sweeping.nextAt, present)
    }

    private static let lettersFull = "full"

    /// The voters of a home that have no room for dead letters, as far as this node knows.
    mutating func votersWithoutLetterRoom(_ home: PartitionID) -> [NodeID] {
        judgeLetterRoom()
        return ring.replicas(of: home).filter { node in
            node == configuration.node
                ? letterRoom.isFull
                : isReachable(node)
                    && gossip.state(of: node)?.text(.deadLetters) == Self.lettersFull
        }
    }

    // MARK: - Sweeping

    /// While there is no room somebody waits for it.
    private var sweepPause: Duration? {
        configuration.letterSweepInterval.map { letterRoom.isFull ? $0 / 12 : $0 }
    }

    mutating func advanceSweep(_ now: Now, into effects: inout [Effect]) {
        judgeLetterRoom()
        switch sweeping.phase {
        case .idle:
            beginSweep(now, into: &effects)
        case .resting(let sweep, let rest):
            sweepNext(sweep, rest, now, into: &effects)
        case .scanning, .writing, .committing:
            break
        }
    }

    private mutating func beginSweep(_ now: Now, into effects: inout [Effect]) {
        guard sweepPause != nil, sweeping.isDue, now.monotonic >= sweeping.nextAt,
            isVotingOnReads, mayChangeHistory,
            forgetting.files.contains(where: { $0.letterBytes > 0 })
        else { return }
        sweeping.isDue = false
        sweeping.began = now.monotonic
        sweeping.phase = .scanning
        let (marks, snapshot) = retirementMarks(of: mine)
        run(.scan(snapshot, base: marks), .sweepMarks, into: &effects)
    }

    /// Who gives or takes a copy of the history leaves it as it is, and so does a full disk: a file
    /// is there twice for a while.
    private var mayChangeHistory: Bool {
        guard hasDiskRoom, !copying.isReceiving, copying.source == nil else { return false }
        if case .idle = forgetting.phase { return true }
        return false
    }

    mutating func sweepMarksRead(
        _ marks: ScanAggregate, _ now: Now, into effects: inout [Effect]
    ) {
        let retired = RetiredLetters(marks)
        let edge = letterEdge(retention.durable.floor)
        guard retired.count > 0 || edge != nil else { return endSweep(now) }
        let files = forgetting.files.filter { $0.letterBytes > 0 }.map(\.meta.id)
        sweepNext(LetterSweep(retired: retired, from: edge), files, now, into: &effects)
    }

    private mutating func sweepNext(
        _ sweep: LetterSweep, _ files: [UInt64], _ now: Now, into effects: inout [Effect]
    ) {
        guard !copying.isReceiving else {
            sweeping.isDue = true
            return endSweep(now)
        }
        guard let id = files.first else { return endSweep(now) }
        let rest = Array(files.dropFirst())
        guard let file = forgetting.files.first(where: { $0.meta.id == id }) else {
            // It became part of another, which the next look reads.
            sweeping.isDue = true
            sweeping.phase = .resting(sweep, rest: rest)
            return
        }
        // It is there twice for a while: a sweep that does not fit would stop all writes.
        guard !forgetting.damaged.contains(id), file.meta.size <= diskSpare else {
            sweeping.phase = .resting(sweep, rest: rest)
            return
        }
        guard mayChangeHistory, yieldRelease() else {
            sweeping.phase = .resting(sweep, rest: files)
            return
        }
        let base = index.base
        var plan = HistoryPlan(
            id: forgetting.nextID, level: file.meta.level,
            segmentLength: configuration.segmentLength, drafts: [], merged: [file],
            outcomesFrom: base.outcomesFrom)
        plan.husksFrom = mine.map { base[$0].floor }.min() ?? .first
        var sweep = sweep
        sweep.partMin = letterRoom.isFull ? .max : configuration.letterSweepPartMin
        plan.sweep = sweep
        forgetting.nextID += 1
        sweeping.phase = .writing(sweep, file: id, rest: rest)
        run(.sweepHistory(plan), .sweepHistory, into: &effects)
    }

    mutating func historySwept(
        _ result: HistorySweep, _ now: Now, into effects: inout [Effect]
    ) {
        guard case .writing(let sweep, let id, let rest) = sweeping.phase else {
            preconditionFailure("a history file was swept that nobody wanted swept")
        }
        switch result {
        case .left:
            sweeping.phase = .resting(sweep, rest: rest)
        case .rewritten(let file):
            var edit = ManifestEdit()
            edit.addHistory = [file].compactMap(\.?.meta)
            edit.removeHistory = [id]
            sweeping.phase = .committing(sweep, file: id, by: file, rest: rest)
            run(.commit(edit), .sweepCommit, into: &effects)
        }
    }

    mutating func sweepCommitted() {
        guard case .committing(let sweep, let id, let file, let rest) = sweeping.phase else {
            preconditionFailure("a swept file was committed that nobody swept")
        }
        let before = forgetting.files.first { $0.meta.id == id }?.letterBytes ?? 0
        counters.letterBytesFreed += before - min(before, file?.letterBytes ?? 0)
        replaceHistory([id], by: file, logStart: nil)
        sweeping.phase = .resting(sweep, rest: rest)
    }

    /// The marks are too many for one scan, a file cannot be read, or another not be written: the
    /// letters stay, and the file that holds them is as good as before.
    mutating func sweepFailed(_ error: StorageError, into effects: inout [Effect]) {
        if case .writing(_, let id, _) = sweeping.phase,
            let file = forgetting.files.first(where: { $0.meta.id == id }),
            case .damaged(let path, _, _) = error, path.hasSuffix(file.meta.path)
        {
            forgetting.damaged.insert(id)
        }
        sweeping.phase = .idle
        sweeping.isDue = true
        sweeping.nextAt = present + Self.failureRetryAfter
        noteDamage(error, into: &effects)
    }

    /// Looking takes a tenth of the time at most, unless somebody waits for room.
    private mutating func endSweep(_ now: Now) {
        sweeping.phase = .idle
        guard let pause = sweepPause else { return }
        let rest = letterRoom.isFull ? pause : (now.monotonic - sweeping.began) * 9
        sweeping.nextAt = now.monotonic + max(pause, rest)
    }
}
