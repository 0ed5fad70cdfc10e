import Core

/// What one compaction does: the tables that become one, ascending by id.
package struct CompactionPlan: Hashable, Sendable {
    package var inputs: [UInt64]
    package var bytes: UInt64
    /// Of the table that they become: theirs, or a coarser one.
    package var granularity: Granularity
    /// Of the table that they become: theirs, or the cold disk.
    package var location: TableLocation
    /// No other table is in their bucket.
    package var isWhole: Bool
}

/// Which tables are merged: those of one granularity and one time bucket on one disk.
package struct TableBucket: Hashable, Comparable, Sendable {
    package var granularity: Granularity
    package var bucket: Int64
    package var location: TableLocation

    package init(granularity: Granularity, bucket: Int64, location: TableLocation = .hot) {
        self.granularity = granularity
        self.bucket = bucket
        self.location = location
    }

    package init(_ table: TableMeta) {
        self.init(
            granularity: table.granularity, bucket: table.bucket, location: table.location)
    }

    package static func < (left: TableBucket, right: TableBucket) -> Bool {
        (left.location, left.granularity.rawValue, left.bucket)
            < (right.location, right.granularity.rawValue, right.bucket)
    }
}

/// The bounds of compactions.
package struct CompactionLimits: Hashable, Sendable {
    /// Tables that one compaction merges.
    package var fanInMax = 32
    /// Bytes of the tables that one compaction merges, if nobody asked for it.
    package var bytesMax: UInt64 = 16 << 30
    /// Below this all tables are of one tier; from here on a tier begins at each power of four.
    package var tierUnit: UInt64 = 16 << 10

    package init() {}

    /// Tables of one tier at rest.
    package static let tierTablesMax = 3
    /// What all tables but the greatest may have, in percent of it: since the merged table is at
    /// least as large as the greatest, space amplification at rest is at most 1.3.
    package static let excessPercentMax: UInt64 = 30

    /// Tables of one bucket at rest, as long as all of them together have at most `bytesMax`.
    package var tablesAtRestMax: Int {
        Self.tierTablesMax * (tier(of: bytesMax) + 1) + 1
    }

    package func tier(of size: UInt64) -> Int {
        let units = size / tierUnit
        return units == 0 ? 0 : (63 - units.leadingZeroBitCount) / 2 + 1
    }
}

/// Chooses what is to be compacted: a pure function of what the manifest says of the tables.
///
/// Size-tiered, as in Bigtable and Cassandra, with the bound of RocksDB's universal compaction on
/// what is stored twice. Within one bucket, over the tables ascending by size:
///
/// 1. Where all but the greatest have more than 30 % of it, all are merged, once flushes rest.
/// 2. Where four are of one tier (sizes within a factor of four), they and all smaller ones are.
/// 3. Else the bucket is at rest.
///
/// After (2) and before (1), tables that are finer than the floor of retention wants their bucket
/// become one of that granularity: once flushes rest, or when there are four. Tables of buckets
/// that have become cold move at once, as tables of the form that the floor wants. Tables of two
/// disks are never merged.
///
/// ## Why it ends, and what it costs
///
/// Each compaction makes one table of several, or of one a coarser or a cold one, which happens to
/// a table thrice at most, so that without flushes they end. A byte that takes part in (2) comes
/// into a higher tier, or at least three quarters of what was written vanish for good, as equal
/// cells. For (1) less than 4.34 bytes are written per byte of the smaller tables, which from then
/// on are in the greatest; they leave it only if one comes that is more than three times as large.
/// So of a byte that is flushed at most about 6 and one per tier are written: logarithmic in the
/// size of the bucket.
package struct CompactionPicker: Hashable, Sendable {
    package var limits: CompactionLimits

    package init(_ limits: CompactionLimits = CompactionLimits()) {
        self.limits = limits
    }

    /// The next compaction of the bucket with most tables; nil where all are at rest.
    ///
    /// - Parameters:
    ///   - isResting: no flush adds to the tables: rule (1) holds. Before, each flush would make
    ///     all be written anew.
    ///   - room: the most bytes that may be written beside the log.
    ///   - cold: as much for the cold disk, and what goes there.
    ///   - busy: tables that are left alone.
    package func pick(
        _ tables: [TableMeta], isResting: Bool = true, room: UInt64 = .max,
        cold: ColdRule = .none, without busy: Set<UInt64> = []
    ) -> CompactionPlan? {
        var best: (plan: CompactionPlan, tables: Int)?
        for (bucket, members) in buckets(tables, without: busy) {
            let bytesMax = min(limits.bytesMax, Self.room(for: bucket, room, cold))
            guard let plan = plan(members, isResting, bytesMax: bytesMax, room, cold) else {
                continue
            }
            if best.map({ members.count > $0.tables }) ?? true { best = (plan, members.count) }
        }
        return best?.plan
    }

    /// Tables whose bucket has become cold, and which are still beside the log: they become one on
    /// the cold disk, in the form in which the floor wants their bucket. Nobody waits for flushes
    /// to rest, since they hardly come to such a bucket, and a busy node would never move anything.
    package func pickCold(
        _ tables: [TableMeta], _ cold: ColdRule, below floor: RetentionFloor = .none,
        _ timeBuckets: TimeBuckets, without busy: Set<UInt64> = []
    ) -> CompactionPlan? {
        var groups: [TableBucket: [TableMeta]] = [:]
        for table in tables
        where table.location == .hot && table.bucket < cold.before && !busy.contains(table.id)
            && !floor.hasExpired(bucket: table.bucket, timeBuckets)
        {
            let wanted = floor.granularity(ofBucket: table.bucket, timeBuckets)
            let coarser = table.granularity.rawValue < wanted.rawValue ? wanted : table.granularity
            let bucket = TableBucket(granularity: coarser, bucket: table.bucket, location: .cold)
            groups[bucket, default: []].append(table)
        }
        for (bucket, members) in groups.sorted(by: { $0.key < $1.key }) {
            if let plan = plan(members, into: bucket, room: cold.room) { return plan }
        }
        return nil
    }

    /// Tables whose bucket has come below the floor, so that they are to become hours or days; nil
    /// where all are as they should be. What has expired is left to be dropped.
    package func pickRollup(
        _ tables: [TableMeta], below floor: RetentionFloor, _ timeBuckets: TimeBuckets,
        isResting: Bool = true, room: UInt64 = .max, cold: ColdRule = .none,
        without busy: Set<UInt64> = []
    ) -> CompactionPlan? {
        guard floor != .none else { return nil }
        var finer: [TableBucket: [TableMeta]] = [:]
        for table in tables where !busy.contains(table.id) {
            let wanted = floor.granularity(ofBucket: table.bucket, timeBuckets)
            guard table.granularity.rawValue < wanted.rawValue,
                !floor.hasExpired(bucket: table.bucket, timeBuckets)
            else { continue }
            let bucket = TableBucket(
                granularity: wanted, bucket: table.bucket, location: table.location)
            finer[bucket, default: []].append(table)
        }
        for (bucket, members) in finer.sorted(by: { $0.key < $1.key })
        where isResting || members.count > CompactionLimits.tierTablesMax {
            let room = bucket.location == .cold ? cold.room : room
            if let plan = plan(members, into: bucket, room: room) { return plan }
        }
        return nil
    }

    /// Of the smallest of these tables, whether or not there is more than one.
    private func plan(
        _ members: [TableMeta], into bucket: TableBucket, room: UInt64
    ) -> CompactionPlan? {
        var inputs: [TableMeta] = []
        var bytes: UInt64 = 0
        for table in members.sorted(by: { ($0.size, $0.id) < ($1.size, $1.id) })
            .prefix(limits.fanInMax)
        where table.size <= room - bytes
            && (inputs.isEmpty || bytes + table.size <= limits.bytesMax)
        {
            inputs.append(table)
            bytes += table.size
        }
        guard !inputs.isEmpty else { return nil }
        return CompactionPlan(
            inputs: inputs.map(\.id).sorted(), bytes: bytes, granularity: bucket.granularity,
            location: bucket.location, isWhole: false)
    }

    /// The next compaction on the way to one table in this bucket, whatever its size; nil where
    /// there is one, or no room for it.
    package func pickWhole(
        _ bucket: TableBucket, _ tables: [TableMeta], room: UInt64 = .max,
        cold: ColdRule = .none, without busy: Set<UInt64> = []
    ) -> CompactionPlan? {
        for (_, members) in buckets(tables.filter { TableBucket($0) == bucket }, without: busy) {
            let inputs = members.prefix(limits.fanInMax)
            guard inputs.count > 1 else { continue }
            let plan = Self.plan(inputs, of: members, room, cold)
            if plan.bytes <= (plan.location == .cold ? cold.room : room) { return plan }
        }
        return nil
    }

    /// Of each bucket, ascending, its tables by size.
    private func buckets(
        _ tables: [TableMeta], without busy: Set<UInt64>
    ) -> [(TableBucket, [TableMeta])] {
        let free = tables.filter { !busy.contains($0.id) }
        return Dictionary(grouping: free) { TableBucket($0) }
            .sorted { $0.key < $1.key }
            .map { ($0.key, $0.value.sorted { ($0.size, $0.id) < ($1.size, $1.id) }) }
    }

    /// Of the disk that takes most of what this bucket's tables may become.
    private static func room(
        for bucket: TableBucket, _ room: UInt64, _ cold: ColdRule
    ) -> UInt64 {
        if bucket.location == .cold { return cold.room }
        return bucket.bucket < cold.before ? max(room, cold.room) : room
    }

    private func plan(
        _ members: [TableMeta], _ isResting: Bool, bytesMax: UInt64, _ room: UInt64,
        _ cold: ColdRule
    ) -> CompactionPlan? {
        var tables = members[...]
        var bytes = tables.reduce(0) { $0 + $1.size }
        while bytes > bytesMax, let last = tables.popLast() { bytes -= last.size }
        guard let greatest = tables.last, tables.count > 1 else { return nil }
        let excess = bytes - greatest.size
        if isResting, excess * 100 > greatest.size * CompactionLimits.excessPercentMax {
            return Self.plan(tables.prefix(limits.fanInMax), of: members, room, cold)
        }
        var tier = -1
        var inTier = 0
        for (place, table) in tables.enumerated() {
            let own = limits.tier(of: table.size)
            // The last of a full tier: the tiers ascend.
            if inTier > CompactionLimits.tierTablesMax, own > tier {
                return Self.plan(
                    tables.prefix(min(place, limits.fanInMax)), of: members, room, cold)
            }
            inTier = own == tier ? inTier + 1 : 1
            tier = own
        }
        guard inTier > CompactionLimits.tierTablesMax else { return nil }
        return Self.plan(tables.prefix(limits.fanInMax), of: members, room, cold)
    }

    private static func plan(
        _ inputs: ArraySlice<TableMeta>, of members: [TableMeta], _ room: UInt64, _ cold: ColdRule
    ) -> CompactionPlan {
        guard let first = inputs.first else { preconditionFailure("a plan for nothing") }
        let bytes = inputs.reduce(0) { $0 + $1.size }
        return CompactionPlan(
            inputs: inputs.map(\.id).sorted(), bytes: bytes, granularity: first.granularity,
            location: cold.location(of: first.bucket, from: first.location, bytes: bytes),
            isWhole: inputs.count == members.count)
    }
}
