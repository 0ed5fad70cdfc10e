import Core
import Storage

/// What a store has promised by some moment of its life.
struct StorePromise {
    /// Synced: must come back.
    var synced = LSN.zero
    /// Slices by LSN; more of them may come back than were synced, never others.
    var slices: [RandomSlice] = []
    /// Committed: the manifest covers at least this.
    var covered = LSN.zero
    var identity: NodeIdentity?
    /// Batches whose outcomes history files tell: at least so many, from the first on.
    var outcomes = 0
}

/// The promises of a life, and after how many file operations each was made.
final class PromiseBook {
    private var pages: [(operations: Int, promise: StorePromise)] = []

    var last: StorePromise { pages.last?.promise ?? StorePromise() }

    func write(after operations: Int, _ change: (inout StorePromise) -> Void) {
        var promise = last
        change(&promise)
        pages.append((operations, promise))
    }

    /// What holds when the power fails before the operation with this number.
    func promise(before operation: Int) -> StorePromise {
        pages.last { $0.operations <= operation }?.promise ?? StorePromise()
    }
}

/// The hands of a scripted life: each act is a few file operations, and writes down its promise
/// when it is done.
struct StoreLife {
    /// Husks that a checkpoint writes.
    static let husksOfCheckpoint = 3

    var random: RandomSource
    private let files: MemoryFileSystem
    private let runner: StorageRunner
    private let book: PromiseBook
    private var cursor: LogCursor
    private var writer: LogWriter
    private var memtable = StorageModel.memtable()
    private var nextTable: UInt64
    private(set) var tables: [TableHandle]
    private var history: [HistoryHandle]
    private var nextHistory: UInt64
    private var retention: Retention
    private var logStart: UInt32
    /// Records of older log files are all in tables.
    private var flushedFile: UInt32
    /// It goes on after an error where a node does: what a full disk kept waits and is tried again,
    /// a flush too after any error, a compaction is given up. Else every error ends it.
    private let endures: Bool

    /// - Parameter disk: what it takes for its disk; else `files` themselves.
    init(
        _ files: MemoryFileSystem, seed: UInt64, _ book: PromiseBook, endures: Bool = false,
        through disk: (any FileSystem)? = nil, options: StorageOptions = StorageModel.options
    ) throws {
        self.endures = endures
        let disk = disk ?? files
        let recovered = try Recovery.open(disk, options: options) { _, _ in }
        random = RandomSource(seed: seed)
        self.files = files
        self.book = book
        runner = StorageRunner(fileSystem: disk, options: options)
        cursor = recovered.cursor
        writer = LogWriter(fileSystem: disk, cursor: recovered.cursor)
        tables = recovered.tables
        history = recovered.history
        nextTable = recovered.manifest.nextTableID
        retention = recovered.manifest.retention
        nextHistory = recovered.manifest.nextHistoryID
        logStart = recovered.manifest.logStart
        flushedFile = recovered.manifest.logStart
    }

    /// Operations so far that changed what a power cut leaves.
    var changes: Int { files.changes }

    private func promise(_ change: (inout StorePromise) -> Void) {
        book.write(after: files.operations, change)
    }

    mutating func identify() throws {
        try commit(ManifestEdit(identity: ManifestTests.identity))
        promise { $0.identity = ManifestTests.identity }
    }

    /// Slices of one day, so that a flush is a few operations and not hundreds.
    mutating func append(_ count: Int) throws {
        try append(
            (0..<count).map { _ in
                var slice = RandomSlice(&random, cellCount: 8)
                slice.cells = slice.cells.filter {
                    (23_000_000..<23_005_000).contains($0.key.window)
                }
                return slice
            })
    }

    private mutating func append(_ slices: [RandomSlice]) throws {
        var appends: [LogAppend] = []
        for slice in slices {
            promise { $0.slices.append(slice) }
            appends.append(
                cursor.append(kind: 1, payload: [UInt8(slice.partition.index)] + slice.bytes))
            try memtable.apply(slice)
        }
        try write(appends)
        try writer.sync()
        let last = cursor.last
        promise { $0.synced = last }
        cursor.markSynced(last)
    }

    /// A history file of husks alone.
    mutating func keepHusks() throws {
        var plan = HistoryTests.plan(nextHistory, 0..<0)
        plan.husks = (0..<10).map { HuskDraft(HistoryTests.husk($0)) }
        nextHistory += 1
        guard case .history(let file?) = try perform(.writeHistory(plan)) else {
            throw TableTests.Unexpected()
        }
        var edit = ManifestEdit()
        edit.addHistory = [file.meta]
        try commit(edit)
        history.append(file)
    }

    private mutating func write(_ appends: [LogAppend]) throws {
        do throws(StorageError) {
            try writer.append(appends)
        } catch {
            guard endures, case .diskFull = error else { throw error }
            try write(appends)
        }
    }

    /// As `NodeMachine.deferJob` judges.
    private func perform(_ job: StorageJob) throws(StorageError) -> StorageResult {
        do throws(StorageError) {
            return try runner.run(job).get()
        } catch {
            guard endures, !error.isFatal else { throw error }
            switch (job, error) {
            case (.writeTables, _), (.writeHistory, .diskFull), (.commit, .diskFull):
                return try perform(job)
            default:
                throw error
            }
        }
    }

    mutating func flush() throws {
        let frozen = memtable.freeze(through: cursor.last)
        memtable = StorageModel.memtable()
        guard
            case .tables(let written) = try perform(.writeTables(frozen, firstID: nextTable))
        else { throw TableTests.Unexpected() }
        nextTable += UInt64(written.count)
        try commit(
            ManifestEdit(addTables: written.map(\.meta), coveredThrough: frozen.through))
        promise { $0.covered = frozen.through }
        flushedFile = cursor.file
        tables += written
    }

    /// All tables become one, some bytes at a time; after two steps `meanwhile` happens. What lies
    /// on the cold disk stays there.
    mutating func compact(
        as granularity: Granularity = .base, to location: TableLocation = .hot,
        _ meanwhile: (inout StoreLife) throws -> Void = { _ in }
    ) throws {
        let inputs = tables.filter { $0.meta.granularity.rawValue <= granularity.rawValue }
        let isFirst = !tables.contains { $0.meta.location == .cold }
        let isCold = location == .cold || inputs.contains { $0.meta.location == .cold }
        let claim = ColdClaim(hostID: ManifestTests.identity.hostID, isFirst: isFirst)
        let compaction = TableCompaction(
            inputs, id: nextTable, as: granularity, to: isCold ? .cold(claim) : .hot)
        nextTable += 1
        var output: TableHandle?
        var steps = 0
        while output == nil {
            let step: StorageResult
            do throws(StorageError) {
                step = try perform(.compact(compaction, bytes: 150))
            } catch {
                guard endures, !error.isFatal || isCold else { throw error }
                // The inputs count as before.
                return
            }
            guard case .compacting(_, let table) = step else { throw TableTests.Unexpected() }
            output = table
            steps += 1
            if steps == 2 { try meanwhile(&self) }
        }
        guard let output else { throw TableTests.Unexpected() }
        let ids = inputs.map(\.meta.id)
        let paths = inputs.map(\.meta.path)
        try commit(ManifestEdit(addTables: [output.meta], removeTables: ids))
        tables.removeAll { ids.contains($0.meta.id) }
        tables.append(output)
        try remove(paths)
    }

    /// A cold disk that fails ends no node.
    private func remove(_ paths: [String]) throws {
        let cold = paths.filter { FileNames.isCold($0) }
        _ = try perform(.removeTables(paths.filter { !FileNames.isCold($0) }))
        guard !cold.isEmpty else { return }
        do throws(StorageError) {
            _ = try perform(.removeTables(cold))
        } catch {
            guard endures else { throw error }
        }
    }

    /// The bucket comes below the floor: what is there becomes hours or days.
    mutating func rollUp(to granularity: Granularity) throws {
        let end: Int64 = 500 * 46_080
        retention.floor = retention.floor.merged(
            with: RetentionFloor(hours: end, days: granularity == .day ? end : .min))
        var edit = ManifestEdit()
        edit.retention = retention
        try commit(edit)
        try compact(as: granularity)
    }

    /// All tables expire: their sums stay.
    mutating func expire() throws {
        var next = retention
        next.drop(tables)
        let ids = tables.map(\.meta.id)
        let paths = tables.map(\.meta.path)
        var edit = ManifestEdit(removeTables: ids)
        edit.retention = next
        try commit(edit)
        retention = next
        tables = []
        try remove(paths)
    }

    /// Lets go of the log files that tables hold whole.
    mutating func releaseLog() throws {
        try commit(ManifestEdit(logStart: cursor.file))
        logStart = cursor.file
        _ = try perform(.removeLogs(before: cursor.file))
    }

    /// Every closed file of the log that tables cover gets an index, of whole records.
    mutating func indexLogs() throws {
        for file in logStart..<cursor.file {
            let plan = LogIndexPlan(file: file, covered: book.last.covered, batchKinds: [])
            _ = try perform(.indexLog(plan))
        }
    }

    /// History files tell of so many more batches; every fourth time the files become one.
    mutating func forget(_ batches: Int) throws {
        let from = book.last.outcomes
        let plan = historyPlan(from..<from + batches)
        let file = try write(plan)
        let merged = plan.merged.map(\.meta.id)
        var edit = ManifestEdit()
        edit.addHistory = [file.meta]
        edit.removeHistory = merged
        try commit(edit)
        promise { $0.outcomes = from + batches }
        replaceHistory(merged, by: file)
        if !merged.isEmpty { _ = try perform(.removeHistory(merged)) }
    }

    /// The same as a node does it, in one edit: so many more batches are forgotten, the next ones
    /// are husks, the log begins later (`NodeMachine.commitForgetting`).
    mutating func checkpoint(_ batches: Int) throws {
        let end = book.last.outcomes + batches
        let below = Segment(
            createdAt: HistoryTests.header(end).createdAt, length: HistoryTests.length)
        var plan = historyPlan(book.last.outcomes..<end)
        plan.husksFrom = below
        plan.husks = (end..<end + Self.husksOfCheckpoint).map { HuskDraft(HistoryTests.husk($0)) }
        let file = try write(plan)
        // In the place of what a node says again of the log's head.
        try append([RandomSlice(partition: PartitionID(0), cells: [:])])
        let start = max(logStart, flushedFile)
        var edit = ManifestEdit(logStart: start > logStart ? start : nil)
        edit.addHistory = [file.meta]
        edit.removeHistory = plan.merged.map(\.meta.id)
        edit.base = HistoryBase(
            partitions: PartitionSet.all.map { _ in
                PartitionBase(floor: below, events: UInt64(end))
            }, through: cursor.last)
        try commit(edit)
        promise { $0.outcomes = end }
        replaceHistory(edit.removeHistory, by: file)
        if start > logStart {
            logStart = start
            _ = try perform(.removeLogs(before: start))
        }
        if !edit.removeHistory.isEmpty { _ = try perform(.removeHistory(edit.removeHistory)) }
    }

    /// The oldest history file is written anew without its dead letters; where that fails, it stays
    /// as it is (`NodeMachine.sweepFailed`).
    mutating func sweep() throws {
        guard let file = history.first else { throw TableTests.Unexpected() }
        var plan = HistoryTests.plan(nextHistory, 0..<0, merging: [file], level: file.meta.level)
        plan.sweep = LetterSweep(retired: LetterSweepTests.retired(0..<book.last.outcomes))
        nextHistory += 1
        let result: StorageResult
        do throws(StorageError) {
            result = try perform(.sweepHistory(plan))
        } catch {
            guard endures, !error.isFatal else { throw error }
            return
        }
        guard case .swept(.rewritten(let swept?)) = result else { throw TableTests.Unexpected() }
        var edit = ManifestEdit()
        edit.addHistory = [swept.meta]
        edit.removeHistory = [file.meta.id]
        try commit(edit)
        replaceHistory(edit.removeHistory, by: swept)
        _ = try perform(.removeHistory(edit.removeHistory))
    }

    /// What is here goes in one edit, before a whole copy (`NodeMachine.setAside`).
    mutating func setAside() throws {
        let through = cursor.last
        var edit = ManifestEdit(
            removeTables: tables.map(\.meta.id), coveredThrough: through)
        edit.removeHistory = history.map(\.meta.id)
        edit.base = HistoryBase.none
        edit.voidThrough = through
        edit.retention = Retention(floor: retention.floor)
        let paths = tables.map(\.meta.path)
        // From here on it may have come or not.
        promise { $0.outcomes = 0 }
        try commit(edit)
        promise { $0.covered = through }
        flushedFile = cursor.file
        retention.dropped = [:]
        memtable = StorageModel.memtable()
        tables = []
        history = []
        try remove(paths)
        if !edit.removeHistory.isEmpty { _ = try perform(.removeHistory(edit.removeHistory)) }
    }

    private mutating func historyPlan(_ numbers: Range<Int>) -> HistoryPlan {
        let isMerge = history.count >= 3
        defer { nextHistory += 1 }
        return HistoryTests.plan(
            nextHistory, numbers, merging: isMerge ? history : [], level: isMerge ? 1 : 0)
    }

    private func write(_ plan: HistoryPlan) throws -> HistoryHandle {
        guard case .history(let file?) = try perform(.writeHistory(plan)) else {
            throw TableTests.Unexpected()
        }
        return file
    }

    private mutating func replaceHistory(_ merged: [UInt64], by file: HistoryHandle) {
        history.removeAll { merged.contains($0.meta.id) }
        history.append(file)
    }

    private func commit(_ edit: ManifestEdit) throws {
        guard case .committed = try perform(.commit(edit)) else { throw TableTests.Unexpected() }
    }
}
