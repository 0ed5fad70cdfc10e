import Core

/// What one compaction does: the tables that become one, ascending by id.
package struct CompactionPlan: Hashable, Sendable {
    package var inputs: [UInt64]
    package var bytes: UInt64
    /// Of the table that they become: theirs, or a coarser one.
    package var granularity: Granularity
    /// No other table is in their bucket.
    package var isWhole: Bool
}

/// Which tables are merged: those of one granularity and one time bucket.
package struct TableBucket: Hashable, Comparable, Sendable {
    package var granularity: Granularity
    package var bucket: Int64

    package init(granularity: Granularity, bucket: Int64) {
        self.granularity = granularity
        self.bucket = bucket
    }

    package init(_ table: TableMeta) {
        self.init(granularity: table.granularity, bucket: table.bucket)
    }

    package static func < (left: TableBucket, right: TableBucket) -> Bool {
        (left.granularity.rawValue, left.bucket) < (right.granularity.rawValue, right.bucket)
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
/// become one of that granularity: once flushes rest, or when there are four.
///
/// ## Why it ends, and what it costs
///
/// Each compaction makes one table of several, so that without flushes there are at most as many
/// as there are tables. A byte that takes part in (2) comes into a higher tier, or at least three
/// quarters of what was written vanish for good, as equal cells. For (1) less than 4.34 bytes are
/// written per byte of the smaller tables, which from then on are in the greatest; they leave it
/// only if one comes that is more than three times as large. So of a byte that is flushed at most
/// about 6 and one per tier are written: logarithmic in the size of the bucket.
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
    ///   - room: the most bytes that may be written.
    ///   - busy: tables that are left alone.
    package func pick(
        _ tables: [TableMeta], isResting: Bool = true, room: UInt64 = .max,
        without busy: Set<UInt64> = []
    ) -> CompactionPlan? {
        var best: (plan: CompactionPlan, tables: Int)?
        for members in buckets(tables, without: busy) {
            let bytesMax = min(limits.bytesMax, room)
            guard let plan = plan(members, isResting, bytesMax: bytesMax) else { continue }
            if best.map({ members.count > $0.tables }) ?? true { best = (plan, members.count) }
        }
        return best?.plan
    }

    /// Tables whose bucket has come below the floor, so that they are to become hours or days; nil
    /// where all are as they should be. What has expired is left to be dropped.
    package func pickRollup(
        _ tables: [TableMeta], below floor: RetentionFloor, _ timeBuckets: TimeBuckets,
        isResting: Bool = true, room: UInt64 = .max, without busy: Set<UInt64> = []
    ) -> CompactionPlan? {
        guard floor != .none else { return nil }
        var finer: [TableBucket: [TableMeta]] = [:]
        for table in tables where !busy.contains(table.id) {
            let wanted = floor.granularity(ofBucket: table.bucket, timeBuckets)
            guard table.granularity.rawValue < wanted.rawValue,
                !floor.hasExpired(bucket: table.bucket, timeBuckets)
            else { continue }
            let bucket = TableBucket(granularity: wanted, bucket: table.bucket)
            finer[bucket, default: []].append(table)
        }
        for (bucket, members) in finer.sorted(by: { $0.key < $1.key })
        where isResting || members.count > CompactionLimits.tierTablesMax {
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
            guard !inputs.isEmpty else { continue }
            return CompactionPlan(
                inputs: inputs.map(\.id).sorted(), bytes: bytes, granularity: bucket.granularity,
                isWhole: false)
        }
        return nil
    }

    /// The next compaction on the way to one table in this bucket, whatever its size; nil where
    /// there is one, or no room for it.
    package func pickWhole(
        _ bucket: TableBucket, _ tables: [TableMeta], room: UInt64 = .max,
        without busy: Set<UInt64> = []
    ) -> CompactionPlan? {
        for members in buckets(tables.filter { TableBucket($0) == bucket }, without: busy) {
            let inputs = members.prefix(limits.fanInMax)
            guard inputs.count > 1 else { continue }
            let plan = Self.plan(inputs, of: members)
            if plan.bytes <= room { return plan }
        }
        return nil
    }

    /// Of each bucket, ascending, its tables by size.
    private func buckets(
        _ tables: [TableMeta], without busy: Set<UInt64>
    ) -> [[TableMeta]] {
        let free = tables.filter { !busy.contains($0.id) }
        return Dictionary(grouping: free) { TableBucket($0) }
            .sorted { $0.key < $1.key }
            .map { $0.value.sorted { ($0.size, $0.id) < ($1.size, $1.id) } }
    }

    private func plan(
        _ members: [TableMeta], _ isResting: Bool, bytesMax: UInt64
    ) -> CompactionPlan? {
        var tables = members[...]
        var bytes = tables.reduce(0) { $0 + $1.size }
        while bytes > bytesMax, let last = tables.popLast() { bytes -= last.size }
        guard let greatest = tables.last, tables.count > 1 else { return nil }
        let excess = bytes - greatest.size
        if isResting, excess * 100 > greatest.size * CompactionLimits.excessPercentMax {
            return Self.plan(tables.prefix(limits.fanInMax), of: members)
        }
        var tier = -1
        var inTier = 0
        for (place, table) in tables.enumerated() {
            let own = limits.tier(of: table.size)
            // The last of a full tier: the tiers ascend.
            if inTier > CompactionLimits.tierTablesMax, own > tier {
                return Self.plan(tables.prefix(min(place, limits.fanInMax)), of: members)
            }
            inTier = own == tier ? inTier + 1 : 1
            tier = own
        }
        guard inTier > CompactionLimits.tierTablesMax else { return nil }
        return Self.plan(tables.prefix(limits.fanInMax), of: members)
    }

    private static func plan(
        _ inputs: ArraySlice<TableMeta>, of members: [TableMeta]
    ) -> CompactionPlan {
        CompactionPlan(
            inputs: inputs.map(\.id).sorted(), bytes: inputs.reduce(0) { $0 + $1.size },
            granularity: inputs.first?.granularity ?? .base, isWhole: inputs.count == members.count)
    }
}
