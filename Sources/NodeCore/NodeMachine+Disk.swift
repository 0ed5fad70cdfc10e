import Core
import Replication
import Storage

// A disk that is nearly full. The shell measures and says so (`Input.disk`); this node then takes
// no new records and goes on with what it holds: marks, flushes, memory of peers and what a read
// needs are written from the reserve, reads are answered. It comes back when the shell says that
// there is room. Where the disk is full all the same, writes wait and are tried again.

extension NodeMachine {
    mutating func setDiskRoom(_ hasRoom: Bool, _ spare: UInt64) {
        // There may be room now for what there was none.
        if spare > diskSpare || hasRoom && !hasDiskRoom { compaction.isDue = true }
        hasDiskRoom = hasRoom
        diskSpare = spare
    }

    mutating func setColdRoom(_ spare: UInt64) {
        if spare > coldSpare { compaction.isDue = true }
        coldSpare = spare
    }

    /// For clients.
    static let diskReason = "this node's disk is nearly full; make room"

    /// Why there is no room for anything new, on the disk or in memory; nil where there is. Who has
    /// none lags behind the others, which are enough for a quorum, and catches up later.
    var lacksRoom: BindAnswer.Inability? {
        if !hasDiskRoom { return .disk }
        return isBehindWithFlushes ? .flushes : nil
    }

    mutating func noteHeldBack(_ why: BindAnswer.Inability) {
        if why == .flushes { counters.heldBack += 1 }
    }

    /// Catching up and recovering wait for room; what a read needs is small, and somebody waits.
    func mayPull(for purpose: SyncSession.Purpose) -> Bool {
        switch purpose {
        case .catchUp, .recovery: lacksRoom == nil
        case .read, .pulled: true
        }
    }

    /// A voter that lately said that it takes nothing new, home records or slices, is not counted
    /// on for a while.
    mutating func noteInability(_ reply: BindReply, of peer: NodeID, _ now: Now) {
        if case .unable(let why) = reply.answer {
            inabilities[peer] = (why: why, until: now.monotonic + Self.inabilityAge)
        } else {
            inabilities[peer] = nil
        }
    }

    private static let inabilityAge: Duration = .seconds(1)

    func isThoughtAble(_ node: NodeID, _ now: Now) -> Bool {
        guard let inability = inabilities[node] else { return true }
        return now.monotonic >= inability.until
    }

    /// A clock that is doubted keeps a node from taking home records, and not slices.
    func isThoughtAbleOfSlices(_ node: NodeID, _ now: Now) -> Bool {
        inabilities[node]?.why == .clock || isThoughtAble(node, now)
    }

    // MARK: - Jobs that wait for room

    /// True where the job will be run again.
    mutating func deferJob(
        _ job: StorageJob?, _ purpose: JobPurpose, _ error: StorageError, _ now: Now,
        into effects: inout [Effect]
    ) -> Bool {
        guard let job, job.isRepeatable else { return false }
        if case .diskFull = error {
            effects.append(.report(.diskFull("\(error)")))
        } else if case .flushTables = purpose, !error.isFatal {
            // Nothing is lost: the log covers the memtable, and the flush is tried again.
            effects.append(.report(.flushFailed("\(error)")))
        } else {
            return false
        }
        deferred.insert(job, purpose, dueAt: now.monotonic + DeferredJobs.retryAfter)
        return true
    }

    mutating func advanceDeferred(_ now: Now, into effects: inout [Effect]) {
        guard !deferred.isEmpty else { return }
        let isCommitting = writeJobs.values.contains(where: \.isCommit)
        for job in deferred.takeDue(now.monotonic, isCommitting: isCommitting) {
            start(job.job, job.purpose, into: &effects)
        }
    }
}
