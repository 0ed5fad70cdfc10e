package import Core

/// How long windows are kept, by their length, reckoned from their time; nil keeps for ever. A
/// window is shown in the finest length that is still kept, and not at all once none is.
package struct RetentionPolicy: Hashable, Sendable {
    /// The cluster's window length.
    package var base: Duration?
    package var hours: Duration?
    package var days: Duration?

    package init(base: Duration? = nil, hours: Duration? = nil, days: Duration? = nil) {
        self.base = base
        self.hours = hours
        self.days = days
    }

    package static let forever = RetentionPolicy()

    /// Until a window is shown by its day, and until it is gone.
    private var keepHours: Duration? { Self.longer(base, hours) }

    /// An event that lies further before its batch's creation than this would be gone at once: it
    /// is a dead letter.
    package var total: Duration? { Self.longer(keepHours, days) }

    private static func longer(_ left: Duration?, _ right: Duration?) -> Duration? {
        guard let left, let right else { return nil }
        return max(left, right)
    }

    /// What holds once every batch that was created before `frontier` is decided. Later ones cannot
    /// bring an event below it that is kept.
    package func floor(at frontier: WallTime?, _ buckets: TimeBuckets) -> RetentionFloor {
        guard let frontier else { return .none }
        let start = { (keep: Duration?) -> Int64 in
            guard let keep else { return .min }
            let reach = StorageLimits.windowReachMilliseconds
            let (time, isOver) = frontier.milliseconds.subtractingReportingOverflow(
                keep.milliseconds)
            guard !isOver, time > -reach, time < reach else { return .min }
            let window = buckets.window.window(of: WallTime(milliseconds: time))
            return buckets.windows(ofBucket: buckets.bucket(of: window)).lowerBound
        }
        return RetentionFloor(
            hours: start(base), days: start(keepHours), expired: start(total))
    }
}

/// Below which windows the minutes are shown as hours, the hours as days, and nothing at all; in
/// windows of the base length, each the first of a time bucket.
///
/// The answer to any query is a function of the set of batches and this floor, whatever form the
/// cells have in files. It is derived from the frontier, which is the cluster's and never goes
/// back, and not from a clock: replicas that know it differ in nothing but how soon they act on it.
package struct RetentionFloor: Hashable, Sendable {
    package var hours: Int64
    package var days: Int64
    package var expired: Int64

    package init(hours: Int64 = .min, days: Int64 = .min, expired: Int64 = .min) {
        self.hours = hours
        self.days = days
        self.expired = expired
    }

    /// Everything is shown as it came.
    package static let none = RetentionFloor()

    package func merged(with other: RetentionFloor) -> RetentionFloor {
        RetentionFloor(
            hours: max(hours, other.hours), days: max(days, other.days),
            expired: max(expired, other.expired))
    }

    /// Whoever shows windows by `self` may read cells in the form that `other` gave them.
    package func covers(_ other: RetentionFloor) -> Bool {
        other.hours <= hours && other.days <= days && other.expired <= expired
    }

    /// What a policy may give: the first windows of buckets, days below hours and what has expired
    /// below days. What a peer says is held against it.
    package func isPlausible(_ buckets: TimeBuckets) -> Bool {
        expired <= days && days <= hours
            && [hours, days, expired].allSatisfy { edge in
                edge == .min
                    || buckets.isPlausible(window: edge)
                        && buckets.windows(ofBucket: buckets.bucket(of: edge)).lowerBound == edge
            }
    }

    /// The length in which a window is shown.
    package func granularity(of window: Int64) -> Granularity {
        window < days ? .day : window < hours ? .hour : .base
    }

    /// The window as which one is shown.
    package func shown(_ window: Int64, _ buckets: TimeBuckets) -> Int64 {
        buckets.start(of: window, granularity(of: window))
    }

    /// The windows to be read for those that are shown in `range`. No hour and no day lies on both
    /// sides of a floor, so that one begins in the range where all of its windows are read.
    package func windows(shownIn range: WindowRange, _ buckets: TimeBuckets) -> WindowRange {
        var read = WindowRange(
            from: range.from.map { end(of: $0, buckets) },
            to: range.to.map { end(of: $0, buckets) })
        if expired > .min { read.from = max(read.from ?? expired, expired) }
        return read
    }

    /// The first window at or after `window` that is shown as itself.
    private func end(of window: Int64, _ buckets: TimeBuckets) -> Int64 {
        let granularity = granularity(of: window)
        let start = buckets.start(of: window, granularity)
        return start == window ? window : start + buckets.windows(in: granularity)
    }

    /// In what form the tables of a bucket are to be.
    package func granularity(ofBucket bucket: Int64, _ buckets: TimeBuckets) -> Granularity {
        let wanted = granularity(of: buckets.windows(ofBucket: bucket).upperBound)
        return wanted == .hour && buckets.windows(in: .hour) == 1 ? .base : wanted
    }

    /// Nothing of the bucket is shown any more.
    package func hasExpired(bucket: Int64, _ buckets: TimeBuckets) -> Bool {
        buckets.windows(ofBucket: bucket).upperBound < expired
    }
}

/// What a directory holds of its floor: how far its tables may have been changed, and what they
/// have lost by it. An entry of the manifest.
package struct Retention: Hashable, Sendable {
    package var floor: RetentionFloor
    /// Of partitions of which tables have been dropped: what their cells came to. It stays in every
    /// sum that replicas compare, so that none of them differ by when they dropped what.
    package var dropped: [PartitionID: PartitionSum]

    package init(floor: RetentionFloor = .none, dropped: [PartitionID: PartitionSum] = [:]) {
        self.floor = floor
        self.dropped = dropped
    }

    package static let none = Retention()

    /// That are no longer shown.
    package var events: UInt64 { dropped.values.reduce(0) { $0 &+ $1.events } }

    package mutating func drop(_ tables: some Sequence<TableHandle>) {
        for table in tables {
            for held in table.partitions {
                dropped[held.partition, default: .zero].merge(
                    PartitionSum(state: held.digest, events: held.total.count))
            }
        }
    }
}

extension SeriesRow {
    /// As a query shows them: windows below the floor by their hour or day, or not at all.
    package static func shown(
        _ rows: [SeriesRow], by floor: RetentionFloor, _ buckets: TimeBuckets
    ) -> [SeriesRow] {
        guard floor != .none else { return rows }
        var shown: [SeriesRow] = []
        shown.reserveCapacity(rows.count)
        for row in rows where row.window >= floor.expired {
            var row = row
            row.window = floor.shown(row.window, buckets)
            shown.append(row)
        }
        return merge(shown)
    }
}
