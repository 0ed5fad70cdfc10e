/// # What a node keeps on its disk
///
/// A log-structured store in the manner of Bigtable (Chang et al., OSDI 2006) and its descendants
/// Cassandra and LevelDB, reduced to what exact counting needs and hardened where sums are at
/// stake:
///
/// - `Log`: one sequence of append-only files. Commit log, batch log and repair source at once. One
///   that is kept long after tables covered it gets an index, which a start reads in its place.
/// - `Memtable`: the sum of all applied slices since the last flush, in memory.
/// - `Tables`: immutable sorted files, each with the cells of one granularity and one time bucket.
/// - `Manifest`: which tables there are and which LSN they cover; one checksummed edit at a time.
/// - `Jobs`: blocking functions over a `FileSystem` that the shell runs on its file threads and the
///   simulator as one effect and one completion. Nothing here owns a thread or a clock.
/// - `Verification`: files that are read again, step by step, and held against their own sums.
/// - `Recovery`: what a start reads; `Inspection`: what a person reads.
///
/// ## Where it differs from its models
///
/// Sums are not idempotent. A log-structured store usually forgives a record that is replayed
/// although a table already holds it; here it would be counted twice. So coverage is exact: every
/// application of a batch has a log record with an LSN, a flush freezes the *whole* memtable
/// together with the last such LSN, and all tables of one flush enter the manifest in *one* edit
/// that also says `coveredThrough`. Replay applies only what lies beyond it
/// (docs/decisions/0004-flush-coverage.md).
///
/// A torn tail and a damaged record look alike at their first byte. Here each record also says
/// through which LSN the log was known to be synced when it was framed. An invalid record is a
/// *torn tail* when no later record vouches that it was synced, and then it is cut: it was never
/// acknowledged. Else it is *damage*: nothing is cut, and the node must not vote
/// (docs/formats/log.md).
///
/// ## Invariants
///
/// 1. What `LogWriter.sync` returned for is recovered after any crash; nothing is recovered that
///    was not appended; recovering twice leaves the same bytes.
/// 2. A table enters the manifest only after its cells were read back from the file and their state
///    digest and checksum equal those of the memtable they came from.
/// 3. Every byte of every file is covered by a checksum that binds it to its place. Damage is an
///    error that names file and offset, never another number.
/// 4. After a failed fsync the writer is dead: no later call succeeds (Rebello et al., ATC 2020).
/// 5. Hash order never reaches a file or an answer: both are sorted.
package import Core

/// The bounds of this module, by name. A test reaches each.
package enum StorageLimits {
    /// Where a memtable's greatest size is not configured.
    package static let memtableBytesDefault = 64 << 20
    /// Of a memtable's greatest size, the part that may wait as slices, which take less memory
    /// than the cells that they become.
    package static let pendingShare = 8
    /// Slices that wait in one partition of a memtable: enough that what is known of the partition
    /// is fetched once for some hundred cells, and few enough to be added in a fraction of a
    /// millisecond.
    package static let pendingBytesMax = 16 << 10
    /// The same in cells, of which a long series may have three in eight bytes.
    package static let pendingCellsMax = 1024
    /// Of what waits, so much is added in one step where all is wanted: about half a millisecond.
    package static let settleBytesMax = 32 << 10
    /// A log record's payload: as much as a frame between peers.
    package static let logPayloadMax = 96 << 20
    /// Room for the log is asked for in steps of so many bytes.
    package static let logReserveStep: UInt64 = 8 << 20
    /// A log file that gets an index is read in pieces of so many bytes, of one record at least.
    package static let logPieceBytes = 1 << 20
    /// The raw bytes of a block of such an index at which it is closed, and the most that one may
    /// claim: the target and one more record.
    package static let logIndexBlockTarget = 256 << 10
    package static let logIndexBlockRawMax = logIndexBlockTarget + logPayloadMax + 32
    /// How many bytes a recovery may checksum in search of a record behind a torn tail, in
    /// multiples of the file's size; beyond it the tail counts as damaged, which is the safe side.
    package static let tailProbeFactor = 16
    /// The manifest is rewritten as one edit when it has grown past this.
    package static let manifestFileMax = 4 << 20
    /// The raw bytes of a table's block at which it is closed.
    package static let blockTarget = 32 << 10
    /// One in so many of these bytes stay free rather than that another key begins in them.
    package static let blockFreeShare = 8
    /// The most raw bytes that a block may claim: the target and one more series with one cell.
    package static let blockRawMax = 64 << 10
    /// The most raw bytes of an index, a filter or a footer.
    package static let sectionRawMax = 256 << 20
    /// The most raw bytes of a block of history: a batch's dead letters lie in one.
    package static let historyBlockRawMax = Limits.recordBodyMax + blockRawMax
    /// The most bytes of one key's attributes in a table of them.
    package static let attributeRowMax = 64 << 10
    /// The most raw bytes of a block of such a table: the target and one more row.
    package static let attributeBlockRawMax = blockTarget + attributeRowMax + 2 * Limits.keyMax
    /// Bytes of dead letters at which a page of them is full, however few they are.
    package static let letterPageBytes = 4 << 20
    /// Bytes at which one piece of a whole copy is closed.
    package static let copyPartTarget = 256 << 10
    /// Files of one level at which they are merged into one of the next, if it would not hold more
    /// outcomes than this.
    package static let historyFilesMax = 8
    package static let historyOutcomesMax: UInt64 = 4 << 20
    /// The time that one table may span.
    package static let bucketSpan: Duration = .seconds(32 * 86_400)
    /// Windows before 1970 share the first bucket and windows after about 2136 the last, so that
    /// dates from a hostile producer cannot make more tables than this in one flush.
    package static let bucketsMax = 1900
    /// No window starts further from 1970, in milliseconds, than this: a little beyond the years
    /// 0001 and 9999. (`Duration` in nanoseconds ends after 292 years.)
    package static let windowReachMilliseconds: Int64 = 400_000_000_000_000
    /// The events that a stored or received measure may claim, so that sums of them cannot
    /// overflow.
    package static let measureCountMax = UInt64(1) << 56
    /// Bytes of keys and totals that one scan may hold.
    package static let scanBytesMax = 1 << 30
    /// The most keys of a top K that are kept while tables are merged, for which no memory is
    /// counted.
    package static let topKeptMax = 100_000
    /// Types of a table of which its index says what a key weighs at most; the others share a
    /// bound.
    package static let boundTypesMax = 16
    /// One in so many of all blocks may a top list read in the order of what they weigh, in which
    /// those of short tables are read more than once.
    package static let topByWeightShare = 2
    /// Keys of a memtable beyond the list's length that a top list places one by one.
    package static let topHeavyKeys = 64
    /// Snapshots that a node keeps, and the bytes of a name and of a label.
    package static let snapshotsMax = 100
    package static let snapshotNameMax = 64
    /// How often a snapshot looks for tables of attributes, where some go while it links them.
    package static let snapshotAttributeRounds = 4
    package static let snapshotLabelMax = 4096
    /// How often one is begun anew since tables moved to the cold disk meanwhile.
    package static let snapshotTriesMax = 3
    /// Bytes that one step of a verification reads: it shares the file threads with flushes and
    /// commits.
    package static let verifyStepBytes = 1 << 20
    /// Bytes that are copied in one piece.
    package static let snapshotCopyBytes = 1 << 20
    /// Keys that one page of a listing may ask for.
    package static let keysPageMax = 100_000
}

/// What the shell chooses once for a node's storage.
package struct StorageOptions: Hashable, Sendable {
    /// The cluster's digest key.
    package var digestKey: SipKey
    package var window: WindowLength
    /// A log file is closed before it would exceed this; one record may be larger.
    package var logFileMax: UInt64
    /// The raw bytes of a table's block at which it is closed; answers do not depend on it.
    package var blockTarget = StorageLimits.blockTarget
    /// The manifest is written anew when it has grown past this.
    package var manifestFileMax = UInt64(StorageLimits.manifestFileMax)
    /// A cold disk is configured.
    package var hasColdTier = false
    /// A start reads the index of a log file in its place where it may.
    package var readsLogIndexes = true
    /// A planted bug: a start takes what it can read for what is on the disk.
    package var trustsPageCache = false
    /// A planted bug: what follows damage in the log is dropped without a word.
    package var cutsDamage = false

    package init(digestKey: SipKey, window: WindowLength = .minute, logFileMax: UInt64 = 64 << 20) {
        self.digestKey = digestKey
        self.window = window
        self.logFileMax = logFileMax
    }

    package var buckets: TimeBuckets { TimeBuckets(window: window) }
}

/// Cuts windows into the time buckets of tables, and into the days of state digests.
package struct TimeBuckets: Hashable, Sendable {
    package let window: WindowLength
    private let windowsPerBucket: Int64
    private let reach: Int64

    package init(window: WindowLength) {
        self.window = window
        windowsPerBucket = max(1, StorageLimits.bucketSpan.milliseconds / window.milliseconds)
        reach = StorageLimits.windowReachMilliseconds / window.milliseconds
    }

    /// Windows beyond this are refused wherever bytes come from outside.
    package func isPlausible(window index: Int64) -> Bool {
        plausibleWindows.contains(index)
    }

    var plausibleWindows: ClosedRange<Int64> { -reach...reach }

    package func bucket(of index: Int64) -> Int64 {
        let bucket = floorDivide(index, windowsPerBucket)
        return min(max(bucket, -1), Int64(StorageLimits.bucketsMax) - 2)
    }

    /// The windows of a bucket, so that cells are compared with two numbers and nothing is divided.
    package func windows(ofBucket bucket: Int64) -> ClosedRange<Int64> {
        let isLast = bucket >= Int64(StorageLimits.bucketsMax) - 2
        let first = bucket < 0 ? Int64.min : bucket * windowsPerBucket
        return first...(isLast ? Int64.max : (bucket + 1) * windowsPerBucket - 1)
    }

    /// The windows that start in a UTC day, at least one of which is plausible.
    package func windows(ofDay day: Int64) -> ClosedRange<Int64> {
        let length = window.milliseconds
        let first = -floorDivide(-day * 86_400_000, length)
        return first...max(first, -floorDivide(-(day + 1) * 86_400_000, length) - 1)
    }

    /// How many windows an hour or a day has; one where the base is as long.
    package func windows(in granularity: Granularity) -> Int64 {
        switch granularity {
        case .base: 1
        case .hour: max(1, 3_600_000 / window.milliseconds)
        case .day: max(1, 86_400_000 / window.milliseconds)
        }
    }

    /// The first window of the hour or day in which one lies.
    package func start(of index: Int64, _ granularity: Granularity) -> Int64 {
        let length = windows(in: granularity)
        return length == 1 ? index : floorDivide(index, length) * length
    }

    /// The UTC day in which a plausible window starts.
    package func day(of index: Int64) -> Int64 {
        floorDivide(index * window.milliseconds, 86_400_000)
    }
}
