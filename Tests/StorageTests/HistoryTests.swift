import Core
import Storage
import Testing
import Wire

@Suite("History files")
struct HistoryTests {
    static let length: Duration = .seconds(10)

    static func header(_ number: Int) -> BatchHeader {
        // Ids that ascend in another order than time does.
        BatchHeader(
            id: BatchID(producer: UInt128(number % 7), sequence: UInt64(number)),
            createdAt: WallTime(milliseconds: Int64(number) * 1000),
            contentHash: Hash128(UInt128(number) &* 0x9e37_79b9_7f4a_7c15), rule: .first)
    }

    static func letters(_ number: Int) -> [DeadLetter] {
        guard number % 5 == 0 else { return [] }
        return (0..<1 + number % 3).map {
            DeadLetter(
                line: UInt32($0 + 1), reason: $0 == 0 ? .badJSON : .tooLate,
                detail: "letter of \(number)", raw: [UInt8(number % 251)], type: [1])
        }
    }

    static func record(_ number: Int) -> BatchRecord {
        let letters = letters(number)
        return BatchRecord.home(
            header: header(number), home: PartitionID(number % 4),
            totals: BatchTotals(
                events: UInt32(letters.count + 3), counted: 3, dead: UInt32(letters.count)),
            slices: [], cells: [], deadLetters: letters)
    }

    static func draft(_ number: Int) -> HistoryDraft {
        let record = record(number)
        return HistoryDraft(
            header: record.header, home: record.home, totals: record.totals,
            letters: .given(letters(number)))
    }

    static func plan(
        _ id: UInt64, _ numbers: Range<Int>, merging files: [HistoryHandle] = [],
        level: UInt8 = 0, outcomesFrom: Segment = .first
    ) -> HistoryPlan {
        HistoryPlan(
            id: id, level: level, segmentLength: length, drafts: numbers.map(draft),
            merged: files, outcomesFrom: outcomesFrom)
    }

    static func write(
        _ plan: HistoryPlan, to files: MemoryFileSystem
    ) throws -> HistoryHandle {
        guard
            case .history(let file?) = try ManifestTests.runner(files).run(.writeHistory(plan))
                .get()
        else { throw TableTests.Unexpected() }
        return file
    }

    static func lookUp(
        _ number: Int, in files: [HistoryHandle], _ runner: StorageRunner
    ) throws -> HistoryEntry? {
        guard case .outcome(let entry) = try runner.run(.lookUp(header(number).id, files)).get()
        else { throw TableTests.Unexpected() }
        return entry
    }

    @Test("tell the outcome of each batch that they hold, and of no other")
    func outcomes() throws {
        let files = try LogTests.fresh()
        let handle = try Self.write(Self.plan(1, 0..<3000), to: files)
        #expect(handle.meta.outcomes == 3000 && handle.meta.letters == 600)
        #expect(handle.meta.firstSegment == Segment(0))
        #expect(handle.meta.lastSegment == Segment(299))
        for number in 0..<3000 {
            let entry = try #require(try handle.lookUp(Self.header(number).id))
            let record = Self.record(number)
            #expect(entry.header == record.header && entry.home == record.home)
            #expect(entry.totals == record.totals && entry.letters.isEmpty)
        }
        var falsePositives = 0
        for number in 3000..<13_000 {
            #expect(try handle.lookUp(Self.header(number).id) == nil)
            if handle.mayHold(HistoryHandle.hash(Self.header(number).id)) { falsePositives += 1 }
        }
        #expect(falsePositives < 200)
    }

    @Test("cost at most 12 bits of memory an id, and a word per block")
    func memory() throws {
        let files = try LogTests.fresh()
        let handle = try Self.write(Self.plan(1, 0..<40_000), to: files)
        // 12 bits of filter; a block of 32 KiB holds about 480 outcomes and costs 56 bytes.
        #expect(handle.memoryBytes * 8 <= 40_000 * 14)
    }

    @Test("list dead letters in the order of all, page by page, over several files")
    func letters() throws {
        let files = try LogTests.fresh()
        let handles = [
            try Self.write(Self.plan(1, 100..<400), to: files),
            try Self.write(Self.plan(2, 0..<100), to: files),
        ]
        let runner = ManifestTests.runner(files)
        let homes = PartitionSet([PartitionID(0), PartitionID(1), PartitionID(3)])
        for reason in [nil, DeadLetterReason.tooLate] {
            var expected: [LetterItem] = []
            for number in 0..<400 where homes.contains(PartitionID(number % 4)) {
                let header = Self.header(number)
                for letter in Self.letters(number) where reason == nil || letter.reason == reason {
                    let place = LetterPlace(
                        segment: Segment(createdAt: header.createdAt, length: Self.length),
                        id: header.id, line: letter.line)
                    expected.append(LetterItem(place: place, letter: letter))
                }
            }
            expected.sort { $0.place < $1.place }
            var found: [LetterItem] = []
            while true {
                let query = LetterQuery(
                    homes: homes, reason: reason, type: [1], after: found.last?.place, limit: 17)
                guard
                    case .letters(let page, let total) = try runner.run(.letters(query, handles))
                        .get()
                else { throw TableTests.Unexpected() }
                #expect(total == UInt64(expected.count))
                if page.isEmpty { break }
                found += page
            }
            #expect(found == expected)
        }
    }

    @Test("are merged without doubles; old outcomes go, dead letters stay")
    func merging() throws {
        let files = try LogTests.fresh()
        let runner = ManifestTests.runner(files)
        let parts = [
            try Self.write(Self.plan(1, 0..<200), to: files),
            try Self.write(Self.plan(2, 150..<400), to: files),
        ]
        let merged = try Self.write(
            Self.plan(3, 400..<500, merging: parts, level: 1, outcomesFrom: Segment(20)), to: files)
        #expect(merged.meta.level == 1)
        #expect(merged.meta.outcomes == 300 && merged.meta.letters == 100)
        #expect(try Self.lookUp(199, in: [merged], runner) == nil)
        #expect(try Self.lookUp(200, in: [merged], runner)?.header == Self.header(200))
        // Nothing left: no file.
        let none = Self.plan(4, 1..<5, outcomesFrom: Segment(9))
        #expect(try runner.run(.writeHistory(none)).get() == .history(nil))
    }

    @Test("take letters from the log, and refuse the record of another batch")
    func fromLog() throws {
        let files = try LogTests.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        let append = cursor.append(kind: 1, payload: Self.record(5).bytes)
        try writer.append([append])
        try writer.sync()
        var plan = Self.plan(1, 5..<6)
        plan.drafts[0].letters = .inLog(append.position)
        let handle = try Self.write(plan, to: files)
        let query = LetterQuery(
            homes: PartitionSet([PartitionID(1)]), reason: nil, type: nil, after: nil, limit: 9)
        let runner = ManifestTests.runner(files)
        guard case .letters(let items, _) = try runner.run(.letters(query, [handle])).get() else {
            throw TableTests.Unexpected()
        }
        #expect(items.map(\.letter) == Self.letters(5))
        plan.id = 2
        plan.drafts[0].header = Self.header(10)
        #expect(throws: StorageError.self) { try runner.run(.writeHistory(plan)).get() }
    }

    @Test("a changed byte anywhere is an error or another file, never another outcome")
    func damage() throws {
        let files = try LogTests.fresh()
        let handle = try Self.write(Self.plan(1, 0..<60), to: files)
        let bytes = try #require(files.contents[handle.path])
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 0x10
            files.overwrite(handle.path, with: changed)
            #expect(throws: StorageError.self) {
                try HistoryHandle.open(handle.meta, in: files).verify()
            }
        }
    }
}

/// A scripted life of a history: batches come into the log, segments are forgotten, files are
/// merged, and the power fails at every operation.
@Suite("History files after a crash")
struct HistoryCrashTests {
    private static func run(_ files: MemoryFileSystem, _ forgotten: inout Int) throws {
        let options = StorageModel.options
        let recovered = try Recovery.open(files, options: options) { _, _ in }
        let runner = StorageRunner(fileSystem: files, options: options)
        var cursor = recovered.cursor
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        var handles: [HistoryHandle] = []
        for round in 0..<6 {
            var drafts: [HistoryDraft] = []
            for number in round * 10..<(round + 1) * 10 {
                let append = cursor.append(kind: 1, payload: HistoryTests.record(number).bytes)
                try writer.append([append])
                var draft = HistoryTests.draft(number)
                draft.letters = .inLog(append.position)
                drafts.append(draft)
            }
            try writer.sync()
            cursor.markSynced(cursor.last)
            let merged = handles.count == 3 ? handles : []
            var plan = HistoryTests.plan(UInt64(round + 1), 0..<0, merging: merged)
            plan.drafts = drafts
            guard case .history(let file?) = try runner.run(.writeHistory(plan)).get() else {
                throw TableTests.Unexpected()
            }
            var edit = ManifestEdit(logStart: cursor.file)
            edit.addHistory = [file.meta]
            edit.removeHistory = merged.map(\.meta.id)
            edit.base = HistoryBase(
                partitions: [PartitionBase(floor: Segment(Int64(round + 1)))],
                through: cursor.last)
            _ = try ManifestTests.commit(edit, to: runner)
            forgotten = round + 1
            _ = try runner.run(.removeLogs(before: cursor.file)).get()
            if !merged.isEmpty {
                _ = try runner.run(.removeHistory(merged.map(\.meta.id))).get()
            }
            handles = handles.filter { !merged.contains($0) } + [file]
        }
    }

    static func script(_ files: MemoryFileSystem) -> Int {
        var forgotten = 0
        do {
            try run(files, &forgotten)
        } catch {
            // The fault that ended this life. What was committed before stands.
        }
        return forgotten
    }

    /// What the manifest says is forgotten is in its files, with its letters; no other file is
    /// left; the rest is in the log.
    static func check(_ files: MemoryFileSystem, _ forgotten: Int, _ what: String) throws {
        let (recovered, records) = try LogTests.recover(files)
        #expect(recovered.damage.isEmpty, "\(what): \(recovered.damage)")
        let floor = Int(max(0, recovered.manifest.base[PartitionID(0)].floor.number))
        #expect(floor >= forgotten, "\(what): \(forgotten) were forgotten, \(floor) recovered")
        let runner = ManifestTests.runner(files)
        for number in 0..<floor * 10 {
            let found = try HistoryTests.lookUp(number, in: recovered.history, runner)
            #expect(found?.header == HistoryTests.header(number), "\(what): \(number)")
        }
        let query = LetterQuery(
            homes: PartitionSet.all, reason: nil, type: nil, after: nil, limit: 1000)
        guard
            case .letters(let items, _) = try runner.run(.letters(query, recovered.history)).get()
        else { throw TableTests.Unexpected() }
        let letters = (0..<floor * 10).reduce(0) { $0 + HistoryTests.letters($1).count }
        #expect(items.count == letters, "\(what)")
        let listed = Set(recovered.manifest.history.map(\.path))
        let present = files.contents.keys.filter { $0.hasPrefix(FileNames.historyDirectory) }
        #expect(Set(present) == listed, "\(what)")
        // What is not forgotten and was synced is still read from the log.
        let ids = Set(records.compactMap { try? BatchRecord(decoding: $0.payload).header.id })
        let last = recovered.cursor.last
        for number in floor * 10..<Int(last.number) {
            #expect(ids.contains(HistoryTests.header(number).id), "\(what): \(number) is lost")
        }
        let contents = files.contents
        let (again, _) = try LogTests.recover(files)
        #expect(files.contents == contents && again.manifest == recovered.manifest, "\(what)")
    }

    @Test("what was forgotten is in the files that count, after a power cut at any operation")
    func everyOperation() throws {
        var random = RandomSource(seed: 61)
        let whole = MemoryFileSystem()
        #expect(Self.script(whole) == 6)
        let total = whole.operations
        #expect(total > 100)
        for operation in 0..<total {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: .shortWrite, onward: true)
            let forgotten = Self.script(files)
            files.clearFaults()
            for data in MemoryFileSystem.DataLoss.allCases {
                for names in MemoryFileSystem.NameLoss.allCases {
                    let crashed = files.crash(data: data, names: names, &random)
                    try Self.check(crashed, forgotten, "operation \(operation), \(data), \(names)")
                }
            }
        }
    }

    @Test("a disk without room for a moment loses nothing")
    func diskFull() throws {
        let whole = MemoryFileSystem()
        _ = Self.script(whole)
        var random = RandomSource(seed: 62)
        for operation in 0..<whole.operations {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: .diskFull)
            let forgotten = Self.script(files)
            files.clearFaults()
            try Self.check(files.crash(&random), forgotten, "operation \(operation)")
        }
    }
}
