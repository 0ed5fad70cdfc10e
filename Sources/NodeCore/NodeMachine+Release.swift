import Core
import Gossip
import Replication
import Ring
import Storage

/// Payloads on their way out of the log.
struct ReleaseState {
    /// One checkpoint at a time, and none beside one that forgets. Each phase may be given up but
    /// the last.
    enum Phase {
        case idle
        /// The peers must prove that they hold what lies before the cut, and tables must cover the
        /// marks of it.
        case proving(ReleasePlan)
        /// What must be kept of the batches is gathered, some segments in a step.
        case gathering(ReleasePlan, rest: [Segment])
        case writing(ReleasePlan)
        /// What of the log's head no batch says has been said again; it must be on disk.
        case syncing(ReleasePlan, HistoryHandle?, state: LogAppend)
        case committing(ReleasePlan, HistoryHandle?, base: HistoryBase)
    }

    var phase = Phase.idle
    var nextAt: Instant
}

/// A piece of the log's head that is to go.
struct ReleasePlan {
    /// The first file that stays.
    var cut: UInt32
    /// All batches with anything before the cut are of segments below; nil: there are none.
    var below: Segment?
    /// The last mark of the log when the cut was chosen.
    var through: LSN
    let since: Instant
    /// Peers that hold all that this node holds below.
    var proven: Set<NodeID> = []
    /// What is kept, until it is being written.
    var husks: [HuskDraft] = []
    var batches = 0
    /// History files that are merged on the way.
    var merged: [UInt64] = []
}

// The log's head goes although its batches are not sealed: what is in tables and history files
// here, and proved to be held by all others, needs no record any more
// (docs/decisions/0026-payloads.md).

extension NodeMachine {
    mutating func advanceRelease(_ now: Now, into effects: inout [Effect]) {
        if case .gathering(let plan, let rest) = releasing.phase {
            gather(plan, rest, into: &effects)
        }
        guard now.monotonic >= releasing.nextAt else { return }
        releasing.nextAt = now.monotonic + configuration.closeInterval
        guard let policy = configuration.release else { return }
        switch releasing.phase {
        case .idle:
            beginRelease(policy, now)
        case .proving(let plan):
            prove(plan, policy, now, into: &effects)
        case .gathering, .writing, .syncing, .committing:
            break
        }
    }

    /// What would move what somebody else reads: it must end first. A plan that only waits for
    /// others is given up instead.
    mutating func yieldRelease() -> Bool {
        switch releasing.phase {
        case .idle: return true
        case .proving, .gathering:
            releasing.phase = .idle
            return true
        case .writing, .syncing, .committing: return false
        }
    }

    private mutating func beginRelease(_ policy: ReleasePolicy, _ now: Now) {
        guard isVotingOnReads, mayForgetWithPeers, case .idle = forgetting.phase, sweeping.yields
        else { return }
        // Only closed files, and none with anything that is still on its way.
        let end = min(log.file, index.oldestUnsettledFile ?? log.file)
        guard end >= logStart, end - logStart >= policy.filesMin else { return }
        let cut = min(end, logStart + policy.filesMax)
        let last = index.segments(before: cut).last
        releasing.phase = .proving(
            ReleasePlan(
                cut: cut, below: last.map { Segment($0.number + 1) }, through: lastMark,
                since: now.monotonic))
    }

    // MARK: - Proofs

    /// What the next comparison of segments asks the peers for.
    var releaseBelow: Segment? {
        if case .proving(let plan) = releasing.phase { plan.below } else { nil }
    }

    /// A peer that has applied what this node has, and holds the same home records, has them on its
    /// disk: nothing is applied, and nothing counted as held, before its record is.
    mutating func noteProof(_ reply: CloseReply, of peer: NodeID) {
        guard case .proving(var plan) = releasing.phase, let below = plan.below,
            closing.round?.heldBelow == below, reply.vote.isVoting,
            let shared = closing.shared[peer], let held = reply.held,
            held == index.digests.heldSum(of: shared, below: below)
        else { return }
        plan.proven.insert(peer)
        releasing.phase = .proving(plan)
    }

    /// What it proved belongs to an earlier life, or to a connection that is gone.
    mutating func forgetProof(of peer: NodeID) {
        guard case .proving(var plan) = releasing.phase else { return }
        plan.proven.remove(peer)
        releasing.phase = .proving(plan)
    }

    private mutating func prove(
        _ plan: ReleasePlan, _ policy: ReleasePolicy, _ now: Now, into effects: inout [Effect]
    ) {
        // What a peer has forgotten meanwhile it cannot prove any more: a later cut may do.
        let isStale = now.monotonic >= plan.since + policy.proofMax
        guard isVotingOnReads, mayForgetWithPeers, !isStale else {
            releasing.phase = .idle
            return
        }
        let isCovered = coveredThrough >= plan.through || has(.releasesUnflushed)
        if !isCovered { wantFlush() }
        let out = absentees
        let isProven =
            has(.releasesUnproven) || plan.below == nil
            || closing.shared.keys.allSatisfy { out.contains($0) || plan.proven.contains($0) }
        guard isCovered, isProven else { return }
        gather(plan, index.segments(before: plan.cut), into: &effects)
    }

    // MARK: - What is kept

    private mutating func gather(
        _ gathered: ReleasePlan, _ segments: [Segment], into effects: inout [Effect]
    ) {
        guard let policy = configuration.release else { return }
        var plan = gathered
        var rest = segments[...]
        let enough = plan.husks.count + policy.stepMax
        while plan.husks.count < enough, let segment = rest.popFirst() {
            plan.husks += index.husks(of: segment, before: plan.cut)
        }
        if plan.husks.count > policy.batchesMax, plan.cut > logStart + 1 {
            // What was proved and flushed holds for an earlier cut as well.
            plan.cut -= 1
            plan.husks = []
            rest = index.segments(before: plan.cut)[...]
            releasing.phase = .gathering(plan, rest: Array(rest))
            return
        }
        guard rest.isEmpty else {
            releasing.phase = .gathering(plan, rest: Array(rest))
            return
        }
        let base = index.base
        var file = historyPlan(
            plan.husks.compactMap(\.outcome), outcomesFrom: base.outcomesFrom)
        file.husks = plan.husks
        file.husksFrom = mine.map { base[$0].floor }.min() ?? .first
        plan.batches = plan.husks.count
        plan.husks = []
        plan.merged = file.merged.map(\.meta.id).sorted()
        releasing.phase = .writing(plan)
        run(.writeHistory(file), .writeHistory, into: &effects)
    }

    /// What of the log's head no batch says is said again.
    mutating func releaseWritten(
        _ plan: ReleasePlan, _ file: HistoryHandle?, into effects: inout [Effect]
    ) {
        releasing.phase = .syncing(plan, file, state: appendState(into: &effects))
    }

    // MARK: - The edit

    mutating func commitRelease(into effects: inout [Effect]) {
        guard case .syncing(let plan, let file, let state) = releasing.phase, state.lsn <= synced
        else { return }
        var base = index.base
        base.through = max(base.through, state.lsn)
        var edit = ManifestEdit(logStart: plan.cut)
        edit.addHistory = [file].compactMap(\.?.meta)
        edit.removeHistory = plan.merged
        edit.base = base
        releasing.phase = .committing(plan, file, base: base)
        run(.commit(edit), .releaseCommit, into: &effects)
    }

    mutating func released(into effects: inout [Effect]) {
        guard case .committing(let plan, let file, let base) = releasing.phase else {
            preconditionFailure("payloads were let go of that nobody wanted to go")
        }
        releasing.phase = .idle
        counters.logFilesReleased += UInt64(plan.cut - logStart)
        counters.payloadsReleased += UInt64(plan.batches)
        replaceHistory(plan.merged, by: file, logStart: plan.cut, through: base.through)
        effects.append(.report(.released(batches: plan.batches, logStart: plan.cut)))
    }
}
