/// How much more tables take than they would if those of each bucket were one, at most: known from
/// the manifest alone, without a look at what they have in common.
///
/// Tables of one granularity and one time bucket on one disk hold each cell at most once each, and
/// the table that a merge makes of them is at least as large as the greatest. So what all take, by
/// what the greatest of each bucket take, is no less than the space amplification. It is 1.3 at
/// most where compactions rest (`CompactionLimits.excessPercentMax`), but for buckets that are too
/// large for one compaction, or have no room for it.
package struct SpaceUse: Hashable, Sendable {
    /// Of all tables.
    package let bytes: UInt64
    /// Of the greatest table of each bucket.
    package let leastBytes: UInt64

    package init(_ tables: [TableMeta]) {
        var greatest: [TableBucket: UInt64] = [:]
        for table in tables {
            let bucket = TableBucket(table)
            greatest[bucket] = max(greatest[bucket] ?? 0, table.size)
        }
        bytes = tables.reduce(0) { $0 + $1.size }
        leastBytes = greatest.values.reduce(0, +)
    }

    /// 100 where nothing is stored twice, and where there is nothing.
    package var amplificationPercent: Int {
        leastBytes == 0 ? 100 : Int(clamping: UInt128(bytes) * 100 / UInt128(leastBytes))
    }
}
