import Core
import Storage
import Testing

/// A small store with a file of every kind, and what it says when it is whole: what a store with a
/// rotten byte is held against.
struct RotWitness {
    /// What an honest start can read, part by part; nil where a part is an error.
    struct Testimony: Equatable {
        /// Kind and payload: where a record stands is no matter.
        var records: [LSN: [UInt8]] = [:]
        /// Records that came twice.
        var doubled = 0
        var tables: [UInt64: [[SeriesRow]]] = [:]
        var totals: [UInt64: [ScanAggregate.Row]] = [:]
        var outcomes: [UInt64: [HistoryEntry?]] = [:]
        var letters: [UInt64: [LetterItem]] = [:]
        var husks: [UInt64: [Husk]] = [:]
        /// By partition, over the tables and what the log has beyond them.
        var digests: [StateDigest] = []
        var identity: NodeIdentity?
        var last = LSN.zero
        var edits: UInt64 = 0
        /// Reads that failed, and damage that the start reported.
        var faults = 0
    }

    /// How a rotten store was found out, or why it need not be.
    enum Verdict: CaseIterable {
        /// The start ends with an error.
        case refused
        /// The start or a read says what is damaged; all else is as it was.
        case reported
        /// The end of the log or the manifest is missing, as after a crash: it goes on from an
        /// earlier moment, and the peers, who know of a later one, will say so.
        case shortened
        /// Every answer is as it was.
        case unchanged
        /// Another number.
        case wrong
    }

    static let batches = 24

    let files: MemoryFileSystem
    /// An earlier moment of the same store.
    let before: MemoryFileSystem
    let truth: Testimony
    private let oracle: CrashOracle
    private let queries: [SeriesQuery]

    /// - Parameter last: the act whose edit is the last of the manifest.
    init(
        seed: UInt64, last: @escaping @Sendable (inout StoreLife) throws -> Void = { _ in }
    ) throws {
        let acts: @Sendable (inout StoreLife) throws -> Void = { life in
            try life.identify()
            for _ in 0..<2 {
                try life.append(12)
                try life.flush()
                try life.forget(Self.batches / 2)
            }
            try life.append(6)
        }
        before = MemoryFileSystem()
        CrashScript(seed: seed) { life in
            try life.identify()
            try life.append(12)
            try life.flush()
            try life.append(3)
        }.live(on: before)
        files = MemoryFileSystem()
        let book = CrashScript(seed: seed) { life in
            try acts(&life)
            try life.keepHusks()
            try last(&life)
            for _ in 0..<3 { try life.append(1) }
        }.live(on: files)
        oracle = CrashOracle(book.last.slices)
        var model = StorageModel()
        for slice in book.last.slices { model.add(slice) }
        queries = Set(model.cells.keys.map { SeriesQuery(partition: $0.partition, key: $0.key) })
            .sorted { ($0.partition, $0.key.description) < ($1.partition, $1.key.description) }
        truth = try Self.testimony(of: files.clone(), queries)
        precondition(truth.faults == 0 && truth.digests == oracle.digests(through: truth.last))
    }

    /// What the store says with this file in the place of its own.
    func verdict(on path: String, _ bytes: [UInt8]) -> Verdict {
        let rotten = files.clone()
        rotten.overwrite(path, with: bytes)
        return verdict(on: rotten)
    }

    /// What the store says where the sector of this byte cannot be read any more.
    func verdict(on path: String, unreadableAt offset: Int) -> Verdict {
        let rotten = files.clone()
        rotten.makeUnreadable(path, at: offset)
        return verdict(on: rotten)
    }

    private func verdict(on rotten: MemoryFileSystem) -> Verdict {
        let found: Testimony
        do {
            found = try Self.testimony(of: rotten, queries)
        } catch is StorageError {
            return .refused
        } catch {
            return .wrong
        }
        guard found != truth else { return .unchanged }
        guard isPart(found) else { return .wrong }
        if found.faults > 0 { return .reported }
        guard found.last < truth.last || found.edits < truth.edits else { return .wrong }
        return found.digests == oracle.digests(through: found.last) ? .shortened : .wrong
    }

    /// Whether everything that was read is as it was.
    private func isPart(_ found: Testimony) -> Bool {
        found.doubled == 0
            && found.records.allSatisfy { truth.records[$0.key] == $0.value }
            && found.tables.allSatisfy { truth.tables[$0.key] == $0.value }
            && found.totals.allSatisfy { truth.totals[$0.key] == $0.value }
            && found.outcomes.allSatisfy { truth.outcomes[$0.key] == $0.value }
            && found.letters.allSatisfy { truth.letters[$0.key] == $0.value }
            && found.husks.allSatisfy { truth.husks[$0.key] == $0.value }
            && (found.identity == truth.identity || found.edits < truth.edits)
    }

    // MARK: - Asking

    private static func testimony(
        of files: MemoryFileSystem, _ queries: [SeriesQuery]
    ) throws -> Testimony {
        var said = Testimony()
        var memtable = StorageModel.memtable()
        let recovered = try Recovery.open(files, options: StorageModel.options) {
            record, manifest in
            let old = said.records.updateValue([record.kind] + record.payload, forKey: record.lsn)
            if old != nil { said.doubled += 1 }
            said.last = max(said.last, record.lsn)
            guard record.lsn > manifest.coveredThrough, let index = record.payload.first else {
                return
            }
            do {
                try memtable.apply(Array(record.payload.dropFirst()), PartitionID(Int(index)))
            } catch {
                said.faults += 1
            }
        }
        said.faults += recovered.damage.count
        said.last = max(said.last, recovered.manifest.coveredThrough)
        said.identity = recovered.manifest.identity
        said.edits = recovered.manifest.edits
        for table in recovered.tables { ask(table, queries, files, &said) }
        for file in recovered.history { try ask(file, files, &said) }
        said.digests = PartitionSet.all.map { partition in
            var digest = memtable.stateDigest(of: partition)
            for table in recovered.tables { digest.merge(table.stateDigest(of: partition)) }
            return digest
        }
        return said
    }

    private static func ask(
        _ table: TableHandle, _ queries: [SeriesQuery], _ files: MemoryFileSystem,
        _ said: inout Testimony
    ) {
        do throws(StorageError) {
            said.tables[table.meta.id] = try queries.map { query throws(StorageError) in
                var rows: [SeriesRow] = []
                try table.series(query, into: &rows)
                return rows
            }
        } catch {
            said.faults += 1
        }
        do throws(StorageError) {
            var aggregate = ScanAggregate(ScanSpec(partitions: .all, output: .totalsByKey))
            try table.scan(into: &aggregate)
            said.totals[table.meta.id] = aggregate.rows
        } catch {
            said.faults += 1
        }
    }

    private static func ask(
        _ file: HistoryHandle, _ files: MemoryFileSystem, _ said: inout Testimony
    ) throws {
        do throws(StorageError) {
            said.outcomes[file.meta.id] = try (0..<batches).map { number throws(StorageError) in
                try file.lookUp(HistoryTests.header(number).id)
            }
        } catch {
            said.faults += 1
        }
        let query = LetterQuery(homes: .all, limit: 1000)
        switch ManifestTests.runner(files).run(.letters(query, [file])) {
        case .success(.letters(let items, _)): said.letters[file.meta.id] = items
        case .success: throw TableTests.Unexpected()
        case .failure: said.faults += 1
        }
        var husks: [Husk] = []
        do throws(StorageError) {
            try file.forEachHusk { husks.append($0) }
            said.husks[file.meta.id] = husks
        } catch {
            said.faults += 1
        }
    }
}
