import Core
import Replication
import Storage

/// The compaction under way, one at a time, and who waits for more.
struct CompactionState {
    enum Phase {
        case idle
        /// Step by step; between two steps nothing runs.
        case merging(CompactionWork, isRunning: Bool)
        /// Its table is there. A flush that took its ids earlier must count before it.
        case awaitsFlush(CompactionWork, TableHandle)
        case committing(CompactionWork, TableHandle)
    }

    var phase = Phase.idle
    /// Tables have changed since all were last found at rest.
    var isDue = true
    /// The next step is not before this.
    var nextAt: Instant
    /// Nor, if tables stay as they are, the next look for what is to be done.
    var lookAt: Instant
    /// When the step under way was asked for.
    var steppedAt: Instant
    /// From then on tables are at rest, if no flush adds to them.
    var restsAt: Instant
    /// Tables that a compaction failed with: not taken again at once.
    var avoided: [(tables: [UInt64], until: Instant)] = []
    /// Buckets below were cold at the last look.
    var coldBefore = Int64.min
    /// The cold disk failed or is full: nothing is written there until then.
    var coldPausedUntil = Instant.zero
    /// Requests for one table in each bucket, and the buckets that are not there yet.
    var requests: [FlushRequest] = []
    var wanted: Set<TableBucket> = []

    init(at now: Instant) {
        nextAt = now
        lookAt = now
        steppedAt = now
        restsAt = now
    }

    var isIdle: Bool {
        if case .idle = phase { true } else { false }
    }

    /// The tables that the compaction under way is made of.
    var inputs: Set<UInt64> {
        switch phase {
        case .idle: []
        case .merging(let work, _), .awaitsFlush(let work, _), .committing(let work, _):
            Set(work.plan.inputs)
        }
    }

    mutating func avoid(_ tables: [UInt64], until: Instant) {
        avoided.append((tables: tables, until: until))
    }

    /// Those that are still to be left alone.
    mutating func avoided(at now: Instant) -> Set<UInt64> {
        avoided.removeAll { $0.until <= now }
        return Set(avoided.flatMap(\.tables))
    }
}

/// One compaction from its plan to its edit.
struct CompactionWork {
    var plan: CompactionPlan
    var bucket: TableBucket
    var compaction: TableCompaction
    /// The flush under way when it began.
    var earlierFlush: FrozenMemtable?
    /// Between the disks.
    var isMove: Bool { bucket.location != compaction.destination.location }
    var progress = TableCompaction.Progress()
}
