import Core
import Storage
import Testing
import Wire

/// History files that are written anew without the bytes of letters that are gone.
@Suite("Swept history files")
struct LetterSweepTests {
    static func retired(_ numbers: some Sequence<Int>, line: UInt32? = nil)
        -> RetiredLetters
    {
        var retired = RetiredLetters()
        for number in numbers {
            for letter in HistoryTests.letters(number) where line ?? letter.line == letter.line {
                retired.insert(
                    LetterID(batch: HistoryTests.header(number).id, line: letter.line))
            }
        }
        return retired
    }

    private static func plan(
        _ id: UInt64, _ file: HistoryHandle, _ sweep: LetterSweep
    ) -> HistoryPlan {
        var plan = HistoryTests.plan(id, 0..<0, merging: [file])
        plan.sweep = sweep
        return plan
    }

    private static func sweep(
        _ plan: HistoryPlan, _ files: MemoryFileSystem
    ) throws -> HistorySweep {
        guard
            case .swept(let result) = try ManifestTests.runner(files).run(.sweepHistory(plan))
                .get()
        else { throw TableTests.Unexpected() }
        return result
    }

    private static func swept(_ plan: HistoryPlan, _ files: MemoryFileSystem) throws
        -> HistoryHandle
    {
        guard case .rewritten(let file?) = try sweep(plan, files) else {
            throw TableTests.Unexpected()
        }
        return file
    }

    private static func list(
        _ handles: [HistoryHandle], without retired: RetiredLetters, _ files: MemoryFileSystem
    ) throws -> [LetterItem] {
        let query = LetterQuery(homes: .all, retired: retired, limit: 10_000)
        guard
            case .letters(let items, let total) = try ManifestTests.runner(files).run(
                .letters(query, handles)
            ).get(), total == UInt64(items.count)
        else { throw TableTests.Unexpected() }
        return items
    }

    @Test("list the same and know the same, and are smaller")
    func sameList() throws {
        let files = try LogTests.fresh()
        let before = try HistoryTests.write(HistoryTests.plan(1, 0..<3000), to: files)
        // All letters of most batches, and one of each of the others.
        var gone = Self.retired(0..<2000)
        for number in 2000..<2500 {
            gone.insert(LetterID(batch: HistoryTests.header(number).id, line: 1))
        }
        let expected = try Self.list([before], without: gone, files)
        #expect(expected.count > 100)
        let after = try Self.swept(Self.plan(2, before, LetterSweep(retired: gone)), files)
        try after.verify()
        #expect(try Self.list([after], without: gone, files) == expected)
        #expect(after.letterBytes < before.letterBytes / 2)
        #expect(after.meta.outcomes == 3000 && after.meta.letters < before.meta.letters)
        for number in 0..<3000 {
            #expect(
                try after.lookUp(HistoryTests.header(number).id)?.totals
                    == HistoryTests.record(number).totals)
        }
        // What is gone has no bytes, whoever looks without its marks.
        let shown = try Self.list([after], without: RetiredLetters(), files)
        for item in shown where gone.contains(item.id) {
            #expect(item.letter.raw.isEmpty && item.letter.detail.isEmpty)
            #expect(item.letter.type == nil && item.letter.key == nil && item.letter.time == nil)
        }
        // Once more there is nothing to win.
        #expect(try Self.sweep(Self.plan(3, after, LetterSweep(retired: gone)), files) == .left)
    }

    @Test("are left as they are where too little would go")
    func share() throws {
        let files = try LogTests.fresh()
        let file = try HistoryTests.write(HistoryTests.plan(1, 0..<1000), to: files)
        let few = LetterSweep(retired: Self.retired(0..<100), partMin: 4)
        #expect(try Self.sweep(Self.plan(2, file, few), files) == .left)
        let enough = LetterSweep(retired: Self.retired(0..<300), partMin: 4)
        #expect(try Self.sweep(Self.plan(2, file, enough), files) != .left)
        let none = LetterSweep(retired: Self.retired(5000..<5100))
        #expect(try Self.sweep(Self.plan(2, file, none), files) == .left)
    }

    @Test("lose the letters of batches that were created before the edge of retention")
    func expired() throws {
        let files = try LogTests.fresh()
        let before = try HistoryTests.write(HistoryTests.plan(1, 0..<1000), to: files)
        let edge = WallTime(milliseconds: 600_000)
        let sweep = LetterSweep(retired: RetiredLetters(), from: edge)
        let after = try Self.swept(Self.plan(2, before, sweep), files)
        let left = try Self.list([after], without: RetiredLetters(), files)
        let expected = try Self.list([before], without: RetiredLetters(), files)
            .filter { $0.createdAt >= edge }
        #expect(left == expected && !left.isEmpty)
        #expect(after.meta.outcomes == 1000)
    }

    @Test("a file of nothing else goes whole")
    func nothingLeft() throws {
        let files = try LogTests.fresh()
        let whole = try HistoryTests.write(HistoryTests.plan(1, 0..<100), to: files)
        var plan = Self.plan(2, whole, LetterSweep(retired: Self.retired(0..<100)))
        // Outcomes that are as old go with them.
        plan.outcomesFrom = Segment(1000)
        #expect(try Self.sweep(plan, files) == .rewritten(nil))
    }

    @Test("who wants no total reads no more blocks than a page needs, and finds the same letters")
    func pages() throws {
        let files = try LogTests.fresh()
        let handles = [
            try HistoryTests.write(HistoryTests.plan(1, 0..<20_000), to: files),
            try HistoryTests.write(HistoryTests.plan(2, 15_000..<30_000), to: files),
        ]
        let runner = ManifestTests.runner(files)
        for reason in [DeadLetterReason.badJSON, nil] {
            func page(
                after: LetterPlace?, countsAll: Bool, limit: Int = 1000
            ) throws -> [LetterItem] {
                let query = LetterQuery(
                    homes: .all, filter: LetterFilter(reason: reason),
                    retired: Self.retired(300..<900), after: after, limit: limit,
                    countsAll: countsAll)
                guard case .letters(let items, _) = try runner.run(.letters(query, handles)).get()
                else { throw TableTests.Unexpected() }
                return items
            }
            let all = try page(after: nil, countsAll: true, limit: 100_000)
            var found: [LetterItem] = []
            while true {
                let items = try page(after: found.last?.place, countsAll: false)
                if items.isEmpty { break }
                found += items
            }
            #expect(found == all && all.count > 5000)
        }
        // A block that rotted is an error for those pages alone that need it.
        let path = handles[0].meta.path
        var bytes = try #require(files.contents[path])
        let place = Int(handles[0].lastLetterOffset) + 40
        bytes[place] ^= 1
        files.overwrite(path, with: bytes)
        let rotten = try HistoryHandle.open(handles[0].meta, in: files)
        let first = LetterQuery(homes: .all, limit: 100, countsAll: false)
        guard case .letters(let items, _) = try runner.run(.letters(first, [rotten])).get() else {
            throw TableTests.Unexpected()
        }
        #expect(items.count == 100)
        var all = first
        all.countsAll = true
        #expect(throws: StorageError.self) { try runner.run(.letters(all, [rotten])).get() }
        var behind = first
        behind.after = LetterPlace(
            segment: Segment(1900), id: BatchID(producer: 0, sequence: 0), line: 1)
        behind.limit = 10_000
        #expect(throws: StorageError.self) { try runner.run(.letters(behind, [rotten])).get() }
    }

    // MARK: - Power cuts

    private static let first = Self.retired(0..<60, line: 1)
    private static let second = Self.retired(0..<40)

    /// A file, swept twice. The number of edits that were acknowledged.
    private static func run(_ files: MemoryFileSystem, _ done: inout Int) throws {
        let options = StorageModel.options
        _ = try Recovery.open(files, options: options) { _, _ in }
        let runner = StorageRunner(fileSystem: files, options: options)
        guard
            case .history(var file?) = try runner.run(
                .writeHistory(HistoryTests.plan(1, 0..<60))
            ).get()
        else { throw TableTests.Unexpected() }
        var edit = ManifestEdit()
        edit.addHistory = [file.meta]
        _ = try ManifestTests.commit(edit, to: runner)
        done = 1
        for (id, gone) in [(UInt64(2), first), (3, second)] {
            let job = StorageJob.sweepHistory(plan(id, file, LetterSweep(retired: gone)))
            guard case .swept(.rewritten(let swept?)) = try runner.run(job).get() else {
                throw TableTests.Unexpected()
            }
            var edit = ManifestEdit()
            edit.addHistory = [swept.meta]
            edit.removeHistory = [file.meta.id]
            _ = try ManifestTests.commit(edit, to: runner)
            done += 1
            _ = try runner.run(.removeHistory([file.meta.id])).get()
            file = swept
        }
    }

    private static func script(_ files: MemoryFileSystem) -> Int {
        var done = 0
        do {
            try run(files, &done)
        } catch {
            // The fault that ended this life. What was committed before stands.
        }
        return done
    }

    private static func check(_ files: MemoryFileSystem, _ done: Int, _ what: String) throws {
        let (recovered, _) = try LogTests.recover(files)
        #expect(recovered.damage.isEmpty, "\(what): \(recovered.damage)")
        let listed = Set(recovered.manifest.history.map(\.path))
        let present = files.contents.keys.filter { $0.hasPrefix(FileNames.historyDirectory) }
        #expect(Set(present) == listed, "\(what)")
        guard let file = recovered.history.first else {
            #expect(done == 0, "\(what): the history is lost")
            return
        }
        #expect(recovered.history.count == 1 && file.meta.id >= UInt64(done), "\(what)")
        let steps = Int(file.meta.id)
        for number in 0..<60 {
            let found = try file.lookUp(HistoryTests.header(number).id)
            #expect(found?.totals == HistoryTests.record(number).totals, "\(what): \(number)")
        }
        var expected: [DeadLetter] = []
        for number in 0..<60 {
            for letter in HistoryTests.letters(number) {
                let id = LetterID(batch: HistoryTests.header(number).id, line: letter.line)
                let isGone =
                    steps > 1 && first.contains(id) || steps > 2 && second.contains(id)
                if !isGone { expected.append(letter) }
            }
        }
        var gone = RetiredLetters()
        if steps > 1 { gone = first }
        if steps > 2 {
            for number in 0..<60 {
                for letter in HistoryTests.letters(number) where number < 40 || letter.line == 1 {
                    gone.insert(
                        LetterID(batch: HistoryTests.header(number).id, line: letter.line))
                }
            }
        }
        let left = try list([file], without: gone, files).map(\.letter)
        #expect(Set(left) == Set(expected) && left.count == expected.count, "\(what)")
        let again = try LogTests.recover(files).0
        #expect(again.manifest == recovered.manifest, "\(what)")
    }

    @Test("are the old file or the new one, whole, after a power cut at any operation")
    func everyOperation() throws {
        let whole = MemoryFileSystem()
        #expect(Self.script(whole) == 3)
        try Self.check(whole, 3, "no fault")
        #expect(whole.operations > 50)
        try FaultWalk(script: Self.script, check: Self.check).cutEverywhere(seed: 71)
    }

    @Test("a disk without room for a moment loses nothing")
    func diskFull() throws {
        try FaultWalk(script: Self.script, check: Self.check).fillEverywhere(seed: 72)
    }
}
