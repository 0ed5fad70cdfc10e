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

    @Test("a file that cannot be written for what it merges leaves no draft behind")
    func drafts() throws {
        let files = MemoryFileSystem()
        _ = try Recovery.open(files, options: StorageModel.options) { _, _ in }
        let first = try Self.write(Self.plan(1, 0..<4), to: files)
        files.makeUnreadable(first.meta.path, at: 0)
        for id in UInt64(2)...4 {
            let plan = Self.plan(id, 10..<12, merging: [first])
            guard case .failure(let error) = ManifestTests.runner(files).run(.writeHistory(plan))
            else { throw TableTests.Unexpected() }
            #expect(error.isDamage)
            #expect(try files.list(FileNames.historyDirectory).count == 1)
        }
        // As for want of room, also where the new file is what cannot be read back.
        files.fail(at: files.operations + 3, with: .inputOutput)
        #expect(throws: StorageError.self) { try Self.write(Self.plan(5, 10..<12), to: files) }
        files.clearFaults()
        #expect(try files.list(FileNames.historyDirectory).count == 1)
    }

    @Test("a footer that passes its checksum and names an absurd segment is damage")
    func absurdSegment() throws {
        let files = MemoryFileSystem()
        _ = try Recovery.open(files, options: StorageModel.options) { _, _ in }
        let handle = try Self.write(Self.plan(1, 0..<4), to: files)
        var bytes = try #require(files.contents[handle.meta.path])
        let tail = bytes.count - 24
        let footer = (0..<8).reduce(0) { $0 | Int(bytes[tail + $1]) << ($1 * 8) }
        #expect(bytes[footer + 1] == 0, "the footer is stored as it is")
        for place in 0..<8 { bytes[footer + 16 + 9 + place] = place == 7 ? 0x7f : 0xff }
        func little(_ number: Int) -> [UInt8] {
            (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
        }
        let checked = little(1) + little(footer) + bytes[footer..<footer + 12]
        let checksum = TestChecksum.crc32c(checked + bytes[(footer + 16)..<tail])
        for place in 0..<4 {
            bytes[footer + 12 + place] = UInt8(truncatingIfNeeded: checksum >> UInt32(place * 8))
        }
        files.overwrite(handle.meta.path, with: bytes)
        let file = try files.open(handle.meta.path, .read)
        do {
            _ = try HistoryHandle.open(file, id: 1, as: handle.meta.path)
            Issue.record("it was opened")
        } catch {
            #expect("\(error)".contains("a segment of \(Int64.max) ms"), "\(error)")
        }
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
                    expected.append(
                        LetterItem(place: place, createdAt: header.createdAt, letter: letter))
                }
            }
            expected.sort { $0.place < $1.place }
            var found: [LetterItem] = []
            while true {
                let query = LetterQuery(
                    homes: homes, filter: LetterFilter(reason: reason, type: [1]),
                    after: found.last?.place, limit: 17)
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

    @Test("leave out letters that are retired, and batches that are not meant")
    func lettersLeftOut() throws {
        let files = try LogTests.fresh()
        let handle = try Self.write(Self.plan(1, 0..<40), to: files)
        let runner = ManifestTests.runner(files)
        let chosen = Self.header(10)
        let lines = Self.letters(10).map(\.line)
        func list(
            _ filter: LetterFilter, without retired: [UInt32]
        ) throws -> (lines: [UInt32], total: UInt64) {
            var marks = RetiredLetters()
            for line in retired { marks.insert(LetterID(batch: chosen.id, line: line)) }
            let query = LetterQuery(
                homes: .all, filter: filter, retired: marks, limit: 1000)
            guard
                case .letters(let items, let total) = try runner.run(.letters(query, [handle]))
                    .get()
            else { throw TableTests.Unexpected() }
            return (items.filter { $0.place.id == chosen.id }.map(\.place.line), total)
        }
        let all = try list(.all, without: [])
        #expect(!lines.isEmpty && all.lines == lines)
        let less = try list(.all, without: [lines[0]])
        #expect(less.lines == Array(lines.dropFirst()) && less.total == all.total - 1)
        let alone = try list(LetterFilter(batch: chosen.id), without: [])
        #expect(alone.lines == lines && alone.total == UInt64(lines.count))
        let line = try list(LetterFilter(batch: chosen.id, line: lines[0]), without: [])
        #expect(line.lines == [lines[0]])
        let before = try list(LetterFilter(to: chosen.createdAt), without: [])
        #expect(before.lines.isEmpty)
        let from = try list(LetterFilter(from: chosen.createdAt), without: [])
        #expect(from.lines == lines)
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
            homes: PartitionSet([PartitionID(1)]), limit: 9)
        let runner = ManifestTests.runner(files)
        guard case .letters(let items, _) = try runner.run(.letters(query, [handle])).get() else {
            throw TableTests.Unexpected()
        }
        #expect(items.map(\.letter) == Self.letters(5))
        plan.id = 2
        plan.drafts[0].header = Self.header(10)
        #expect(throws: StorageError.self) { try runner.run(.writeHistory(plan)).get() }
    }

    // MARK: - Husks

    /// A record with slices in two partitions.
    static func sliced(_ number: Int) -> BatchRecord {
        BatchRecord.home(
            header: header(number), home: PartitionID(number % 4),
            totals: BatchTotals(events: 2, counted: 2, dead: 0),
            slices: [
                (partition: PartitionID(number % 4), offset: 0, length: 2, cells: 1),
                (partition: PartitionID(number % 4 + 4), offset: 2, length: 2, cells: 1),
            ], cells: [UInt8(number % 251), 2, 3, 4], deadLetters: [])
    }

    static func husk(_ number: Int, of partitions: PartitionSet = .all) -> Husk {
        let record = sliced(number)
        return Husk(
            header: record.header, home: record.home, totals: record.totals,
            hasRecord: number % 3 == 0, isFinished: true, touched: record.partitions,
            applied: record.slices.filter { partitions.contains($0.partition) }.map {
                Husk.Slice(partition: $0.partition, hash: $0.hash)
            })
    }

    static func husks(of file: HistoryHandle) throws -> [Husk] {
        var husks: [Husk] = []
        try file.forEachHusk { husks.append($0) }
        return husks
    }

    private static func plan(
        _ id: UInt64, husks: [Husk], merging files: [HistoryHandle] = [], from: Segment = .first
    ) -> HistoryPlan {
        var plan = plan(id, 0..<0, merging: files)
        plan.husks = husks.map { HuskDraft($0) }
        plan.husksFrom = from
        return plan
    }

    @Test("husks come back by id; of merged files the parts of one batch are one husk")
    func husks() throws {
        let files = try LogTests.fresh()
        let low = PartitionSet((0..<4).map { PartitionID($0) })
        let high = PartitionSet((4..<8).map { PartitionID($0) })
        let first = try Self.write(
            Self.plan(1, husks: (0..<900).map { Self.husk($0, of: low) }), to: files)
        #expect(first.huskCount == 900 && first.meta.outcomes == 0)
        #expect(first.lastHuskSegment == Segment(89) && first.meta.lastSegment == Segment(89))
        let second = try Self.write(
            Self.plan(2, husks: (500..<1000).map { Self.husk($0, of: high) }), to: files)
        let merged = try Self.write(
            Self.plan(3, husks: [Self.husk(2000)], merging: [first, second], from: Segment(20)),
            to: files)
        let expected =
            ((200..<1000).map { number in
                Self.husk(number, of: number < 500 ? low : number < 900 ? .all : high)
            } + [Self.husk(2000)]).sorted { $0.header.id < $1.header.id }
        #expect(try Self.husks(of: merged) == expected)
        try merged.verify()
        let again = try HistoryHandle.open(merged.meta, in: files)
        #expect(try Self.husks(of: again) == expected)
        #expect(again.huskCount == 801)
        // They are no outcomes.
        #expect(try merged.lookUp(Self.header(300).id) == nil)
    }

    @Test("what a husk needs is read from the log; records of other batches are refused")
    func husksFromLog() throws {
        let files = try LogTests.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        var plan = Self.plan(1, husks: [])
        for number in (0..<40).reversed() {
            let append = cursor.append(kind: 1, payload: Self.sliced(number).bytes)
            try writer.append([append])
            let wanted = PartitionSet([PartitionID(number % 4 + 4)])
            let bare = Self.husk(number, of: PartitionSet())
            plan.husks.append(HuskDraft(bare, wanted: wanted, places: [append.position]))
        }
        try writer.sync()
        let handle = try Self.write(plan, to: files)
        let high = PartitionSet((4..<8).map { PartitionID($0) })
        let expected = (0..<40).map { Self.husk($0, of: high) }
            .sorted { $0.header.id < $1.header.id }
        #expect(try Self.husks(of: handle) == expected)
        let runner = ManifestTests.runner(files)
        plan.id = 2
        var wrong = plan
        wrong.husks[3].husk.header = Self.header(77)
        #expect(throws: StorageError.self) { try runner.run(.writeHistory(wrong)).get() }
        wrong = plan
        wrong.husks[3].wanted = PartitionSet([PartitionID(9)])
        #expect(throws: StorageError.self) { try runner.run(.writeHistory(wrong)).get() }
    }

    @Test("a copy gives of each husk what concerns the taker, piece by piece")
    func husksInPieces() throws {
        let files = try LogTests.fresh()
        let handle = try Self.write(
            Self.plan(1, husks: (0..<9000).map { Self.husk($0) }), to: files)
        let runner = ManifestTests.runner(files)
        let wanted = PartitionSet([PartitionID(1), PartitionID(6)])
        var found: [Husk] = []
        var cursor = CopyCursor(.husks)
        var pieces = 0
        while cursor.stage == .husks {
            guard
                case .husks(let part, let next) = try runner.run(
                    .copyHistory([handle], wanted, cursor)
                ).get()
            else { throw TableTests.Unexpected() }
            found += part
            cursor = next
            pieces += 1
        }
        #expect(pieces > 1 && cursor == CopyCursor(.list))
        let expected = (0..<9000).compactMap { Self.husk($0).part(of: wanted) }
            .sorted { $0.header.id < $1.header.id }
        #expect(found == expected && found.count == 4500)
        #expect(found.allSatisfy { $0.partitions.isSubset(of: wanted) })
        #expect(found.contains { $0.hasRecord })
    }

    @Test("a changed byte anywhere is an error or another file, never another outcome")
    func damage() throws {
        let files = try LogTests.fresh()
        var plan = Self.plan(1, 0..<60)
        plan.husks = (0..<60).map { HuskDraft(Self.husk($0)) }
        let handle = try Self.write(plan, to: files)
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
            // The first half of each round are husks as well: as if they went before the rest.
            plan.husks = drafts.prefix(5).map { draft in
                guard case .inLog(let position) = draft.letters else {
                    preconditionFailure("letters are in the log here")
                }
                return HuskDraft(
                    Husk(
                        header: draft.header, home: draft.home, totals: draft.totals,
                        hasRecord: true, isFinished: true, touched: PartitionSet()),
                    places: [position])
            }
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
            homes: PartitionSet.all, limit: 1000)
        guard
            case .letters(let items, _) = try runner.run(.letters(query, recovered.history)).get()
        else { throw TableTests.Unexpected() }
        let letters = (0..<floor * 10).reduce(0) { $0 + HistoryTests.letters($1).count }
        #expect(items.count == letters, "\(what)")
        var husks: [BatchID] = []
        for file in recovered.history { husks += try HistoryTests.husks(of: file).map(\.header.id) }
        let gone = (0..<floor * 10).filter { $0 % 10 < 5 }.map { HistoryTests.header($0).id }
        #expect(husks.sorted() == gone.sorted(), "\(what)")
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
        let whole = MemoryFileSystem()
        #expect(Self.script(whole) == 6)
        #expect(whole.operations > 100)
        try FaultWalk(script: Self.script, check: Self.check).cutEverywhere(seed: 61)
    }

    @Test("a disk without room for a moment loses nothing")
    func diskFull() throws {
        try FaultWalk(script: Self.script, check: Self.check).fillEverywhere(seed: 62)
    }
}
