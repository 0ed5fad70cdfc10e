import Core
import Replication
package import Storage

/// How far this node's tables follow the floor of retention.
struct RetentionState {
    enum Phase {
        case idle
        /// An edit with a later floor, or without tables that have expired.
        case committing(Retention, tables: Set<UInt64>)
    }

    var phase = Phase.idle
    /// What the manifest says: tables may have any form that this floor allows.
    var durable: Retention
    /// A peer's tables may have, and it said so.
    var told = RetentionFloor.none
    /// No compaction begins before the edit that waits for the present one to end.
    var isDue = false

    init(_ durable: Retention) {
        self.durable = durable
    }

    var isIdle: Bool {
        if case .idle = phase { true } else { false }
    }
}

// Old windows become hours and days and in the end expire (docs/decisions/0028-retention.md). What
// an answer shows follows from the floor alone; files follow when they can. First the manifest says
// so, then compactions write what is finer anew, and one edit drops what has expired.

extension NodeMachine {
    var buckets: TimeBuckets { TimeBuckets(window: configuration.window) }

    /// By which this node shows what it reads.
    var floor: RetentionFloor { ownFloor.merged(with: retention.told) }

    /// As far as it may change its files: by what it knows itself.
    private var ownFloor: RetentionFloor {
        configuration.retention.floor(at: frontierTime, buckets)
            .merged(with: retention.durable.floor)
    }

    /// As far as files may have been changed.
    package var durableFloor: RetentionFloor { retention.durable.floor }

    mutating func advanceRetention(_ now: Now, into effects: inout [Effect]) {
        guard retention.isIdle,
            configuration.retention != .forever || retention.durable.floor != .none
        else { return }
        let floor = ownFloor
        let busy = compaction.inputs
        var expired = Set<UInt64>()
        var isBusy = false
        for table in tables where floor.hasExpired(bucket: table.meta.bucket, buckets) {
            if busy.contains(table.meta.id) { isBusy = true } else { expired.insert(table.meta.id) }
        }
        retention.isDue = isBusy || !expired.isEmpty || floor != retention.durable.floor
        // Whoever takes a copy, or has told the sums of one that it gives, changes no tables. A
        // full disk is no reason against it: it makes room.
        guard floor != retention.durable.floor || !expired.isEmpty, !copying.isReceiving,
            !copying.isAboutToGive
        else { return }
        var next = retention.durable
        next.floor = floor
        if !has(.expiryForgetsSums) {
            next.drop(tables.filter { expired.contains($0.meta.id) })
        }
        var edit = ManifestEdit(removeTables: expired.sorted())
        edit.retention = next
        retention.phase = .committing(next, tables: expired)
        run(.commit(edit), .retentionCommit, into: &effects)
    }

    mutating func retentionCommitted(_ now: Now, into effects: inout [Effect]) {
        guard case .committing(let next, let expired) = retention.phase else {
            preconditionFailure("a floor was committed that nobody raised")
        }
        let hasRisen = next.floor != retention.durable.floor
        retention.phase = .idle
        retention.isDue = false
        retention.durable = next
        let paths = tables.map(\.meta).filter { expired.contains($0.id) }.map(\.path)
        tables.removeAll { expired.contains($0.meta.id) }
        compaction.isDue = true
        compaction.lookAt = now.monotonic
        compaction.wanted = compaction.wanted.filter {
            !next.floor.hasExpired(bucket: $0.bucket, buckets)
        }
        if hasRisen {
            sweeping.isDue = true
            effects.append(.report(.floorRisen(next.floor, window: configuration.window)))
        }
        guard !expired.isEmpty else { return }
        counters.tablesExpired += UInt64(expired.count)
        effects.append(.report(.tablesExpired(expired.count)))
        // Reads hold the files open; a verification opens them by name.
        forgetting.removals.append(
            ForgetState.Removal(after: nextJob, tables: paths.sorted()))
    }

    // MARK: - Reading

    /// The query in terms of the cells that are to be read for it.
    func translated(_ query: ReadQuery, by floor: RetentionFloor) -> ReadQuery {
        guard floor != .none else { return query }
        switch query {
        case .series(var series):
            let read = floor.windows(shownIn: series.windows, buckets)
            series.from = read.from
            series.to = read.to
            return .series(series)
        case .scan(var spec, let top):
            let read = floor.windows(shownIn: spec.windows, buckets)
            spec.from = read.from
            spec.to = read.to
            return .scan(spec, top: top)
        case .deadLetters:
            return query
        }
    }

    /// Its tables may be coarser than the coordinator would show them.
    func isAhead(of floor: RetentionFloor) -> Bool {
        !floor.covers(retention.durable.floor) && !has(.answersRolled)
    }

    /// A replica's tables are coarser than this coordinator knew: the read begins anew with what it
    /// knows now.
    mutating func restart(
        _ tag: Tag, below told: RetentionFloor, _ now: Now, into effects: inout [Effect]
    ) {
        guard let session = reads[tag] else { return }
        retention.told = retention.told.merged(with: told)
        counters.readsRestarted += 1
        counters.reads -= 1
        reads[tag] = nil
        readOfRequest[session.request] = nil
        beginRead(
            session.request, session.options.asked, session.consistency, session.deadline, now,
            into: &effects)
    }

    /// What was read, as the query wants it shown.
    func shown(_ answer: ReadAnswer, by floor: RetentionFloor) -> ReadAnswer {
        var answer = answer
        answer.floor = floor
        if case .series(let rows) = answer.result {
            answer.result = .series(SeriesRow.shown(rows, by: floor, buckets))
        }
        return answer
    }
}
