import Core
import Storage
import Testing

/// A store that does what it is told, or what its options make it do.
struct MetamorphicStore {
    struct Tuning: Hashable {
        var options = StorageModel.options
        /// Bytes at which a memtable is flushed unasked.
        var memtableMax = Int.max
        /// Tables at which they are compacted unasked.
        var tablesMax: Int?
        /// Bytes that one step of a compaction reads.
        var compactionStep = 1 << 20
        var releasesLog = false
        /// Whether tables become what the floor lets them be.
        var rollsUp = false
        /// Whether tables move to the cold disk when they are compacted.
        var moves = false
        /// Whether it flushes, compacts and crashes when the operations say so.
        var obeys = true
        var seed: UInt64 = 0
    }

    private let tuning: Tuning
    private var random: RandomSource
    private var files: MemoryFileSystem
    private var runner: StorageRunner
    private var cursor: LogCursor
    private var writer: LogWriter
    private var memtable = StorageModel.memtable()
    private var nextTable: UInt64
    private(set) var tables: [TableHandle]
    private var retention = Retention.none
    private(set) var flushes = 0
    private(set) var compactions = 0
    private(set) var crashes = 0
    private(set) var rollups = 0
    private(set) var moves = 0
    private var floor = RetentionFloor.none

    init(_ tuning: Tuning) throws {
        self.tuning = tuning
        random = RandomSource(seed: tuning.seed)
        files = MemoryFileSystem()
        runner = StorageRunner(fileSystem: files, options: tuning.options)
        cursor = LogCursor(options: tuning.options)
        writer = LogWriter(fileSystem: files, cursor: cursor)
        nextTable = 1
        tables = []
        try recover()
        // A cold disk is some node's.
        if tuning.moves { try commit(ManifestEdit(identity: ManifestTests.identity)) }
    }

    mutating func answers(
        to operations: [MetamorphicTests.Operation]
    ) throws -> [MetamorphicTests.Answer] {
        var answers: [MetamorphicTests.Answer] = []
        for operation in operations {
            switch operation {
            case .apply(let slices): try apply(slices)
            case .flush: if tuning.obeys { try flush() }
            case .compact: if tuning.obeys { try compact() }
            case .crash: if tuning.obeys { try crash() }
            case .raise(let next): try raise(to: next)
            case .series(let queries):
                for query in queries {
                    let rows = try series(read(query))
                    answers.append(
                        .rows(SeriesRow.shown(rows, by: floor, RetentionTests.buckets)))
                }
            case .scan(let spec):
                answers.append(Self.answer(try scan(read(spec))))
            case .top(let count, let order, let spec):
                let kept = try scan(read(spec), keeping: .init(count, by: order))
                answers.append(.totals(kept.top(count, by: order)))
            }
        }
        return answers
    }

    // MARK: - Questions

    /// As a coordinator translates them.
    private func read(_ query: SeriesQuery) -> SeriesQuery {
        var query = query
        let windows = floor.windows(shownIn: query.windows, RetentionTests.buckets)
        (query.from, query.to) = (windows.from, windows.to)
        return query
    }

    private func read(_ spec: ScanSpec) -> ScanSpec {
        var spec = spec
        let windows = floor.windows(shownIn: spec.windows, RetentionTests.buckets)
        (spec.from, spec.to) = (windows.from, windows.to)
        return spec
    }

    private func series(_ query: SeriesQuery) throws -> [SeriesRow] {
        let job = StorageJob.series(
            query, TableSnapshot(tables: tables), base: memtable.series(query))
        guard case .rows(let rows) = try runner.run(job).get() else {
            throw TableTests.Unexpected()
        }
        return rows
    }

    private func scan(
        _ spec: ScanSpec, keeping: ScanAggregate.Top? = nil
    ) throws -> ScanAggregate {
        var base = ScanAggregate(spec, keeping: keeping)
        memtable.scan(into: &base)
        let job = StorageJob.scan(TableSnapshot(tables: tables), base: base)
        guard case .scanned(let aggregate) = try runner.run(job).get() else {
            throw TableTests.Unexpected()
        }
        return aggregate
    }

    private static func answer(_ aggregate: ScanAggregate) -> MetamorphicTests.Answer {
        switch aggregate.spec.output {
        case .totalsByKey, .types:
            return .totals(aggregate.rows)
        case .statistics:
            let sums = aggregate.partitionStatistics.map { ($0.partition, $0.statistics.total) }
            return .sums(Dictionary(uniqueKeysWithValues: sums))
        case .keys:
            let page = aggregate.keys()
            return .keys(page.keys, hasMore: page.hasMore)
        }
    }

    // MARK: - Acts

    private mutating func apply(_ slices: [RandomSlice]) throws {
        let appends = slices.map {
            cursor.append(kind: 1, payload: [UInt8($0.partition.index)] + $0.bytes)
        }
        try writer.append(appends)
        try writer.sync()
        cursor.markSynced(cursor.last)
        for slice in slices { try memtable.apply(slice) }
        if memtable.bytes > tuning.memtableMax { try flush() }
        if let most = tuning.tablesMax, tables.count > most { try compact() }
    }

    private mutating func flush() throws {
        let frozen = memtable.freeze(through: cursor.last)
        memtable = StorageModel.memtable()
        guard
            case .tables(let written) = try runner.run(
                .writeTables(frozen, firstID: nextTable)
            ).get()
        else { throw TableTests.Unexpected() }
        nextTable += UInt64(written.count)
        try commit(ManifestEdit(addTables: written.map(\.meta), coveredThrough: frozen.through))
        tables += written
        flushes += 1
        guard tuning.releasesLog else { return }
        try commit(ManifestEdit(logStart: cursor.file))
        _ = try runner.run(.removeLogs(before: cursor.file)).get()
    }

    private mutating func raise(to next: RetentionFloor) throws {
        floor = floor.merged(with: next)
        guard tuning.rollsUp else { return }
        var retention = self.retention
        retention.floor = floor
        let expired = tables.filter {
            floor.hasExpired(bucket: $0.meta.bucket, RetentionTests.buckets)
        }
        retention.drop(expired)
        let ids = expired.map(\.meta.id)
        let paths = expired.map(\.meta.path)
        var edit = ManifestEdit(removeTables: ids)
        edit.retention = retention
        try commit(edit)
        self.retention = retention
        tables.removeAll { ids.contains($0.meta.id) }
        _ = try runner.run(.removeTables(paths)).get()
        let picker = CompactionPicker()
        while let plan = picker.pickRollup(
            tables.map(\.meta), below: floor, RetentionTests.buckets)
        {
            try compact(tables.filter { plan.inputs.contains($0.meta.id) }, as: plan.granularity)
            rollups += 1
        }
    }

    /// The tables of the fullest bucket become one.
    private mutating func compact() throws {
        let buckets = Dictionary(grouping: tables) { TableBucket($0.meta) }
        guard
            let fullest = buckets.max(by: { ($0.value.count, $0.key) < ($1.value.count, $1.key) }),
            fullest.value.count > 1
        else { return }
        try compact(fullest.value, as: fullest.key.granularity)
        compactions += 1
    }

    private mutating func compact(
        _ inputs: [TableHandle], as granularity: Granularity
    ) throws {
        let isMove = tuning.moves && !inputs.contains { $0.meta.location == .cold }
        let claim = ColdClaim(
            hostID: ManifestTests.identity.hostID,
            isFirst: !tables.contains { $0.meta.location == .cold })
        let compaction = TableCompaction(
            inputs, id: nextTable, as: granularity, to: tuning.moves ? .cold(claim) : .hot)
        if isMove { moves += 1 }
        nextTable += 1
        var output: TableHandle?
        while output == nil {
            let job = StorageJob.compact(compaction, bytes: tuning.compactionStep)
            guard case .compacting(_, let table) = try runner.run(job).get() else {
                throw TableTests.Unexpected()
            }
            output = table
        }
        guard let output else { return }
        let ids = inputs.map(\.meta.id)
        let paths = inputs.map(\.meta.path)
        try commit(ManifestEdit(addTables: [output.meta], removeTables: ids))
        _ = try runner.run(.removeTables(paths)).get()
        tables.removeAll { ids.contains($0.meta.id) }
        tables.append(output)
    }

    private func commit(_ edit: ManifestEdit) throws {
        _ = try ManifestTests.commit(edit, to: runner)
    }

    private mutating func crash() throws {
        files = files.crash(&random)
        crashes += 1
        try recover()
    }

    private mutating func recover() throws {
        var replayed = StorageModel.memtable()
        var failure: (any Error)?
        let recovered = try Recovery.open(files, options: tuning.options) { record, manifest in
            guard record.lsn > manifest.coveredThrough else { return }
            do {
                try replayed.apply(
                    Array(record.payload.dropFirst()), PartitionID(Int(record.payload[0])))
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        #expect(recovered.damage.isEmpty)
        memtable = replayed
        runner = StorageRunner(fileSystem: files, options: tuning.options)
        cursor = recovered.cursor
        writer = LogWriter(fileSystem: files, cursor: cursor)
        nextTable = recovered.manifest.nextTableID
        tables = recovered.tables
        retention = recovered.manifest.retention
    }
}
