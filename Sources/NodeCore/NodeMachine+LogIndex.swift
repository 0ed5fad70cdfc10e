import Core
import Replication
import Storage

/// Which files of the log get an index (docs/decisions/0041-log-indexes.md).
package struct LogIndexPolicy: Hashable, Sendable {
    /// A closed file that is still kept so long after it was seen, and is covered by tables: one
    /// that no peer asks for any more is gone by then, and no index is written for nothing.
    package var age: Duration
    /// After each, so many times as long as it took is left to others.
    package var rest: Int

    package init(age: Duration = .seconds(60), rest: Int = 3) {
        precondition(age > .zero && rest >= 0)
        self.age = age
        self.rest = rest
    }
}

/// Indexes of log files, one at a time.
struct LogIndexState {
    /// Files below have an index, or get none from this process.
    var next: UInt32
    /// That a start has used, no more than the log has files.
    var used: Set<UInt32>
    /// Files below are old enough.
    var end: UInt32
    /// Files below were closed when they were last looked for, with marks up to this LSN.
    var seen: (below: UInt32, through: LSN)?
    var lookAt: Instant
    /// No file is begun before.
    var nextAt: Instant
    /// When the one under way was asked for.
    var begunAt: Instant?

    init(_ used: [UInt32], logStart: UInt32, now: Instant) {
        next = logStart
        end = logStart
        self.used = Set(used)
        lookAt = now
        nextAt = now
    }

    /// The next file that is old enough and has no index yet; nil where there is none.
    mutating func file(from logStart: UInt32) -> UInt32? {
        next = max(next, logStart)
        while next < end, used.remove(next) != nil { next += 1 }
        return next < end ? next : nil
    }
}

// A file of the log that is kept although tables cover it gets an index, so that a start need not
// read it: a peer that is away may ask for its slices for a day.

extension NodeMachine {
    mutating func advanceLogIndex(_ now: Now, into effects: inout [Effect]) {
        guard let policy = configuration.logIndex else { return }
        look(policy, now)
        guard logIndex.begunAt == nil, now.monotonic >= logIndex.nextAt, hasDiskRoom,
            !isReleasing, let file = logIndex.file(from: logStart)
        else { return }
        logIndex.begunAt = now.monotonic
        let plan = LogIndexPlan(
            file: file, covered: coveredThrough, batchKinds: LogKind.batchRecords)
        run(.indexLog(plan), .logIndex(file), into: &effects)
    }

    private mutating func look(_ policy: LogIndexPolicy, _ now: Now) {
        guard now.monotonic >= logIndex.lookAt else { return }
        logIndex.lookAt = now.monotonic + policy.age
        if let seen = logIndex.seen {
            guard coveredThrough >= seen.through else { return }
            logIndex.end = max(logIndex.end, seen.below)
        }
        logIndex.seen = (below: log.file, through: lastMark)
    }

    /// The log's head is on its way out.
    private var isReleasing: Bool {
        switch releasing.phase {
        case .idle, .proving: false
        case .gathering, .writing, .syncing, .committing: true
        }
    }

    mutating func logIndexed(_ file: UInt32, _ isDone: Bool) {
        rest()
        guard isDone else {
            // The last of its records are covered by the next flush.
            logIndex.nextAt = max(logIndex.nextAt, logIndex.lookAt)
            return
        }
        logIndex.next = max(logIndex.next, file + 1)
        counters.logFilesIndexed += 1
    }

    private mutating func rest() {
        let took = present - (logIndex.begunAt ?? present)
        logIndex.begunAt = nil
        logIndex.nextAt = present + took * Int64(configuration.logIndex?.rest ?? 0)
    }

    /// Nothing is lost by it: a start reads the log file. A log file that cannot be read is another
    /// matter, and is not tried again.
    mutating func logIndexFailed(
        _ file: UInt32, _ error: StorageError, into effects: inout [Effect]
    ) {
        rest()
        if error.isFatal { return effects.append(.halt("\(error)")) }
        guard error.isDamage, error.path?.hasSuffix(FileNames.log(file)) == true else {
            logIndex.nextAt = present + Self.failureRetryAfter
            return
        }
        logIndex.next = max(logIndex.next, file + 1)
        noteDamage(error, into: &effects)
    }
}
