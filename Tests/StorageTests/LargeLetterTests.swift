import Core
import Storage
import Testing
import Wire

/// Dead letters of the largest events: lists and pieces of copies end by bytes before they end by
/// number.
@Suite("Large dead letters")
struct LargeLetterTests {
    /// Of bytes that compress well: what they take on the disk says nothing of what they are.
    private static func letters(_ number: Int) -> [DeadLetter] {
        [
            DeadLetter(
                line: 1, reason: .badJSON, detail: "letter of \(number)",
                raw: Array(repeating: UInt8(number), count: Limits.lineMax))
        ]
    }

    private static func draft(_ number: Int) -> HistoryDraft {
        HistoryDraft(
            header: HistoryTests.header(number), home: PartitionID(number % 4),
            totals: BatchTotals(events: 1, counted: 0, dead: 1), letters: .given(letters(number)))
    }

    private static func file(
        _ id: UInt64, _ numbers: Range<Int>, in files: MemoryFileSystem
    ) throws -> HistoryHandle {
        try HistoryTests.write(
            HistoryPlan(
                id: id, level: 0, segmentLength: HistoryTests.length,
                drafts: numbers.map(draft)), to: files)
    }

    private static func place(_ number: Int) -> LetterPlace {
        let header = HistoryTests.header(number)
        return LetterPlace(
            segment: Segment(createdAt: header.createdAt, length: HistoryTests.length),
            id: header.id, line: 1)
    }

    @Test("are listed whole, as many on a page as its bytes allow", arguments: [true, false])
    func pages(countsAll: Bool) throws {
        let files = try LogTests.fresh()
        let handles = [try Self.file(1, 12..<24, in: files), try Self.file(2, 0..<12, in: files)]
        let runner = ManifestTests.runner(files)
        var found: [LetterItem] = []
        var pages = 0
        while true {
            let query = LetterQuery(
                homes: .all, after: found.last?.place, limit: 1000, countsAll: countsAll)
            guard
                case .letters(let page, let total) = try runner.run(.letters(query, handles)).get()
            else { throw TableTests.Unexpected() }
            if countsAll { #expect(total == 24) }
            if page.isEmpty { break }
            #expect(page.count <= StorageLimits.letterPageBytes / Limits.lineMax)
            #expect(LetterList(limit: 1000, of: page).isFull)
            found += page
            pages += 1
        }
        #expect(pages == 6)
        let numbers = (0..<24).sorted { Self.place($0) < Self.place($1) }
        #expect(found.map(\.place) == numbers.map { Self.place($0) })
        #expect(found.map(\.letter) == numbers.flatMap { Self.letters($0) })
    }

    @Test("lists that end early come to the same as one list of all")
    func merged() {
        var random = RandomSource(seed: 5)
        for _ in 0..<200 {
            let limit = 1 + Int(random.next() % 12)
            let items = (0..<24).map { number in
                let size = random.next() % 4 == 0 ? Int(random.next() % (3 << 20)) : 9
                return LetterItem(
                    place: LetterPlace(
                        segment: Segment(1), id: BatchID(producer: 1, sequence: UInt64(number)),
                        line: 1), createdAt: WallTime(milliseconds: 0),
                    letter: DeadLetter(
                        line: 1, reason: .badJSON, detail: "",
                        raw: Array(repeating: 0, count: size)))
            }
            var parts: [[LetterItem]] = [[], [], []]
            for item in items { parts[Int(random.next() % 3)].append(item) }
            let all = LetterList(limit: limit, of: items)
            let some = parts.flatMap { LetterList(limit: limit, of: $0).items }
            #expect(LetterList(limit: limit, of: some).items == all.items)
            #expect(all.isFull || all.items.count == items.count)
        }
    }

    @Test("are given to a copy in pieces of their bytes, not of those that they take in a file")
    func pieces() throws {
        let files = try LogTests.fresh()
        let handle = try Self.file(1, 0..<12, in: files)
        let runner = ManifestTests.runner(files)
        var found: [HistoryEntry] = []
        var cursor = CopyCursor(.letters)
        while cursor.stage == .letters {
            guard
                case .entries(let part, let next?) = try runner.run(
                    .copyHistory([handle], .all, cursor)
                ).get()
            else { throw TableTests.Unexpected() }
            // Each is more than a piece by itself.
            #expect(part.count <= 1)
            found += part
            cursor = next
        }
        #expect(found.count == 12)
        #expect(found.allSatisfy { $0.letters.first?.raw.count == Limits.lineMax })
    }

    @Test("of batches that are still in the log are given to a copy likewise")
    func sealed() throws {
        let files = try LogTests.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        var drafts: [HistoryDraft] = []
        for number in 0..<5 {
            var draft = Self.draft(number)
            let record = BatchRecord.home(
                header: draft.header, home: draft.home, totals: draft.totals, slices: [],
                cells: [], deadLetters: Self.letters(number))
            let append = cursor.append(kind: 1, payload: record.bytes)
            try writer.append([append])
            draft.letters = .inLog(append.position)
            drafts.append(draft)
        }
        try writer.sync()
        let runner = ManifestTests.runner(files)
        for number in drafts.indices {
            guard
                case .entries(let entries, nil) = try runner.run(
                    .copySealed(Array(drafts[number...]))
                ).get()
            else { throw TableTests.Unexpected() }
            #expect(entries.map(\.letters) == [Self.letters(number)])
        }
    }
}
