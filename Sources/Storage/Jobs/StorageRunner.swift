import Core
import Synchronization

/// Runs storage jobs. Any thread may run any job; commits wait for one another.
package struct StorageRunner: Sendable {
    let fileSystem: any FileSystem
    let options: StorageOptions
    private let manifest = ManifestLock()

    /// The manifest as it is written to, opened by the first commit.
    private final class ManifestLock: Sendable {
        let file = Mutex<ManifestFile?>(nil)
    }

    /// One runner serves a data directory, after `Recovery.open`.
    package init(fileSystem: any FileSystem, options: StorageOptions) {
        self.fileSystem = fileSystem
        self.options = options
    }

    package func run(_ job: StorageJob) -> Result<StorageResult, StorageError> {
        do throws(StorageError) {
            return .success(try perform(job))
        } catch {
            return .failure(error)
        }
    }

    private func perform(_ job: StorageJob) throws(StorageError) -> StorageResult {
        switch job {
        case .writeTables(let memtable, let firstID):
            let flush = TableFlush(fileSystem: fileSystem, options: options)
            return .tables(try flush.write(memtable, firstID: firstID))
        case .commit(let edit):
            return .committed(try commit(edit))
        case .compact(let compaction, let bytes):
            let (progress, table) = try compaction.step(bytes, in: fileSystem, options: options)
            return .compacting(progress, table)
        case .abandonCompaction(let compaction):
            try compaction.abandon(in: fileSystem)
            return .removed
        case .series(let query, let snapshot, let base):
            var rows = base
            for memtable in snapshot.frozen { rows.append(contentsOf: memtable.series(query)) }
            for table in snapshot.tables { try table.series(query, into: &rows) }
            return .rows(SeriesRow.merge(rows))
        case .scan(let snapshot, let base):
            var aggregate = base
            for memtable in snapshot.frozen { memtable.scan(into: &aggregate) }
            try aggregate.add(snapshot.tables)
            guard aggregate.isWithinLimit else { throw .scanTooLarge(bytes: aggregate.byteCount) }
            return .scanned(aggregate)
        case .readLog(let positions):
            return .records(try LogReader.read(positions, from: fileSystem))
        case .keepAside(let positions):
            for record in try LogReader.read(positions, from: fileSystem) {
                try Quarantine.keep(record, in: fileSystem)
            }
            return .kept
        case .indexLog(let plan):
            return .indexed(try index(plan))
        case .removeLogs(let start):
            try removeLogs(before: start)
            return .removed
        case .removeTables(let paths):
            for path in paths { try removeIfPresent(path) }
            for directory in Set(paths.map { FileNames.directory(of: $0) }).sorted() {
                try fileSystem.syncDirectory(directory)
            }
            return .removed
        case .verify(let verification, let bytes):
            return .verifying(try verification.step(bytes, by: self))
        case .recount(let partition, let positions):
            let recount = LogRecount(fileSystem: fileSystem, options: options)
            return .recounted(try recount.sum(of: partition, in: positions))
        case .writeHistory, .sweepHistory, .lookUp, .letters, .removeHistory, .copyCells,
            .copyHistory,
            .copySealed:
            return try performHistory(job)
        }
    }

    private func performHistory(_ job: StorageJob) throws(StorageError) -> StorageResult {
        switch job {
        case .writeHistory(let plan):
            var writer = HistoryWriter(fileSystem: fileSystem, plan: plan)
            return .history(try writer.write())
        case .sweepHistory(let plan):
            guard let sweep = plan.sweep, let file = plan.merged.first, try sweep.isWorth(file)
            else { return .swept(.left) }
            var writer = HistoryWriter(fileSystem: fileSystem, plan: plan)
            return .swept(.rewritten(try writer.write()))
        case .lookUp(let id, let files):
            for file in files {
                if let entry = try file.lookUp(id) { return .outcome(entry) }
            }
            return .outcome(nil)
        case .letters(let query, let files):
            let (items, total) = try HistoryLetters.list(query, in: files)
            return .letters(items, total: total)
        case .removeHistory(let ids):
            for id in ids { try removeIfPresent(FileNames.history(id)) }
            try fileSystem.syncDirectory(FileNames.historyDirectory)
            return .removed
        case .copyCells(let tables, let partitions, let cursor):
            let reader = CopyReader(options: options)
            let (blocks, next) = try reader.cells(tables, partitions, from: cursor)
            return .cells(blocks, next: next)
        case .copyHistory(let files, let homes, let cursor):
            let reader = CopyReader(options: options)
            if cursor.stage == .husks {
                let (husks, next) = try reader.husks(files, homes, from: cursor)
                return .husks(husks, next: next)
            }
            let (entries, next) = try reader.history(files, homes, from: cursor)
            return .entries(entries, next: next)
        case .copySealed(let drafts):
            return .entries(try CopyReader.sealed(drafts, in: fileSystem), next: nil)
        case .writeTables, .commit, .compact, .abandonCompaction, .series, .scan, .readLog,
            .keepAside, .indexLog, .removeLogs, .removeTables, .verify, .recount:
            preconditionFailure("performed by the caller")
        }
    }

    /// What is found must be found twice, as by verifications: a log file that is said to be
    /// damaged may cost all data here.
    private func index(_ plan: LogIndexPlan) throws(StorageError) -> Bool {
        let write = { () throws(StorageError) -> Bool in
            var writer = LogIndexWriter(fileSystem: fileSystem, plan: plan)
            return try writer.write()
        }
        do throws(StorageError) {
            return try write()
        } catch {
            guard error.isDamage else { throw error }
            fileSystem.dropCached(FileNames.log(plan.file))
            return try write()
        }
    }

    private func commit(_ edit: ManifestEdit) throws(StorageError) -> ManifestState {
        try withManifest { manifest throws(StorageError) in
            try manifest.commit(edit, sizeMax: options.manifestFileMax)
            return manifest.state
        }
    }

    /// Alone with the manifest: no commit goes on meanwhile.
    private func withManifest<Value: Sendable>(
        _ body: (inout ManifestFile) throws(StorageError) -> Value
    ) throws(StorageError) -> Value {
        try manifest.file.withLock { file throws(StorageError) in
            var open: ManifestFile
            if let file { open = file } else { open = try ManifestFile.open(fileSystem) }
            defer { file = open }
            return try body(&open)
        }
    }

    /// Takes the files of a snapshot, which counts once it is sealed; commits wait meanwhile. Any
    /// thread, at any time.
    ///
    /// - Parameter name: one that `Snapshots.isName` allows, and no snapshot has.
    package func snapshot(_ name: String) throws(StorageError) -> SnapshotContent {
        precondition(Snapshots.isName(name), "\(name) is no name of a snapshot")
        for _ in 1...StorageLimits.snapshotTriesMax {
            try Snapshots.begin(name, in: fileSystem)
            if let content = try trySnapshot(name) { return content }
            try Snapshots.clear(name, in: fileSystem)
        }
        throw .failed(
            operation: "snapshot", path: Snapshots.path(of: name),
            detail: "tables go to the cold disk all the time; try again later")
    }

    /// The cold disk may be slow, and nobody's edit waits for it: its tables are linked before, and
    /// held against the list afterwards. nil where they changed meanwhile.
    private func trySnapshot(_ name: String) throws(StorageError) -> SnapshotContent? {
        do throws(StorageError) {
            var writer = SnapshotWriter(fileSystem, name: name)
            let cold = try withManifest { $0.state.coldTables }
            guard try writer.linkCold(cold) else { return nil }
            return try withManifest { manifest throws(StorageError) in
                guard manifest.state.coldTables == cold else { return nil }
                return try writer.write(manifest.state, manifestSize: try manifest.soundSize())
            }
        } catch {
            // The room that it takes may be what is missing. Whether it can be removed or not, the
            // first error is the one to tell.
            let first = error
            do throws(StorageError) {
                try Snapshots.clear(name, in: fileSystem)
            } catch { throw first }
            throw first
        }
    }

    private func removeLogs(before start: UInt32) throws(StorageError) {
        for name in try fileSystem.list(FileNames.logDirectory) {
            let number = FileNames.logNumber(name) ?? FileNames.logIndexNumber(name)
            guard let number, number < start else { continue }
            try removeIfPresent("\(FileNames.logDirectory)/\(name)")
        }
        try fileSystem.syncDirectory(FileNames.logDirectory)
    }

    /// A removal that a crash interrupted is done again.
    private func removeIfPresent(_ path: String) throws(StorageError) {
        do throws(StorageError) {
            try fileSystem.remove(path)
        } catch {
            guard case .notFound = error else { throw error }
        }
    }

    // MARK: - What verifications ask for

    /// Reads the manifest again, alone with it, and returns its size.
    func checkManifest() throws(StorageError) -> UInt64 {
        try manifest.file.withLock { open throws(StorageError) in
            if let open { return try open.check() }
            // Nothing was written to it since the start, which left no torn tail.
            let bytes = try fileSystem.readAll(FileNames.manifest)
            let reading = try ManifestFile.read(bytes, path: FileNames.manifest)
            guard reading.end == UInt64(bytes.count) else {
                throw .damaged(
                    path: FileNames.manifest, offset: reading.end, what: "an edit is cut off")
            }
            return reading.end
        }
    }

    /// Throws where the cold disk is not there, or another node's.
    func requireColdDisk() throws(StorageError) {
        let identity = try withManifest { $0.state.identity }
        guard try ColdTier.isOwn(of: identity, in: fileSystem) else {
            throw .coldTierMissing(
                "\(ColdTier.ownerFile) does not exist or names another node; mount this node's")
        }
    }
}
