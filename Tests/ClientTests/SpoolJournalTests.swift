import Client
import Core
import Storage
import Testing

@Suite("A spool's files")
struct SpoolJournalTests {
    private let input = CutInput(
        number: 0, path: "/a.csv", identity: CutInput.Identity(device: 3, inode: 4), format: .csv)

    private func draft(_ size: Int, end: Int? = nil) -> BatchDraft {
        BatchDraft(
            body: [UInt8](repeating: UInt8(size % 251), count: size), contentType: "text/csv",
            events: 2,
            mark: end.map {
                CutMark(
                    input: input,
                    end: CutPosition(
                        offset: $0, checksum: 77, preamble: Array("k,t\n".utf8), isWithinLine: true)
                )
            })
    }

    private func time(_ number: Int) -> WallTime { WallTime(milliseconds: Int64(number)) }

    private func counts(_ events: Int, dead: Int = 0) -> SpoolOutcome {
        .counted(BatchCounts(events: events, counted: events - dead, dead: dead))
    }

    /// A journal of one segment, its states after each record, and where the records end.
    private func history() throws -> (files: MemorySpool, states: [SpoolState], ends: [Int]) {
        let files = MemorySpool(disk: MemoryFileSystem())
        var journal = try SpoolJournal(files, producer: 42)
        var states = [journal.state]
        var ends = [journal.bytes]
        func note() {
            states.append(journal.state)
            ends.append(journal.bytes)
        }
        for number in 0..<3 {
            _ = try journal.seal(
                draft(30 + number, end: 100 * number + 1), target: "/v1/events?a=b",
                createdAt: time(number))
            note()
        }
        try journal.settle(1, counts(2, dead: 1))
        note()
        _ = try journal.reseal(0, createdAt: time(9))
        note()
        try journal.settle(2, .parked(events: 2))
        note()
        return (files, states, ends)
    }

    @Test("a batch comes back as it was sealed, with the position of its input")
    func roundTrip() throws {
        let (files, states, _) = try history()
        let journal = try SpoolJournal(files, producer: 7)
        #expect(journal.state == states.last)
        #expect(journal.state.producer == 42)
        #expect(journal.state.heldSequences == [3])
        #expect(journal.state.nextSequence == 4)
        let batch = try journal.load(3)
        #expect(batch.id == BatchID(producer: 42, sequence: 3))
        #expect(batch.body == draft(30).body)
        #expect(batch.createdAt == time(9))
        #expect((batch.contentType, batch.target) == ("text/csv", "/v1/events?a=b"))
        let progress = try #require(journal.state.inputs.first)
        #expect(progress.input == input)
        #expect(progress.position == draft(1, end: 201).mark?.end)
        #expect(journal.state.totals.events == 4)
        #expect(journal.state.totals.dead == 1)
        #expect(journal.state.totals.parked == 2)
    }

    @Test("every prefix of the written bytes is a spool that ends with a whole record")
    func prefixes() throws {
        let (files, states, ends) = try history()
        let (name, bytes) = try files.newest()
        for length in 0..<bytes.count {
            let cut = try MemorySpool.holding([(name, Array(bytes[..<length]))])
            let journal = try SpoolJournal(cut, producer: 42)
            let whole = ends.lastIndex { $0 <= length }
            // An input that is new is a record of its own, before its first batch.
            let expected = whole.map { states[$0] } ?? states[0]
            #expect(journal.state.held == expected.held, "\(length) bytes")
            #expect(journal.state.totals == expected.totals, "\(length) bytes")
            #expect(journal.state.nextSequence == expected.nextSequence, "\(length) bytes")
            let again = try SpoolJournal(cut, producer: 42)
            #expect(again.state == journal.state, "\(length) bytes, opened twice")
        }
    }

    @Test("a changed byte is an error that names the file, or in the last record a torn tail")
    func damage() throws {
        let (files, states, ends) = try history()
        let (name, bytes) = try files.newest()
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 0x10
            let spool = try MemorySpool.holding([(name, changed)])
            // The last record that says what was durable before it is the last but none.
            let voucher = ends[ends.count - 2]
            do {
                let journal = try SpoolJournal(spool, producer: 42)
                #expect(place >= voucher, "a change at \(place) went unnoticed")
                #expect(journal.state == states[states.count - 2])
            } catch {
                guard case .damaged(let file, let offset, _) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(file == name)
                #expect(offset <= place)
                #expect(place < voucher, "a change at \(place) cannot be told from a torn tail")
            }
        }
    }

    @Test("segments are begun and dropped, and positions and totals are carried on")
    func segments() throws {
        var bounds = SpoolJournal.Bounds()
        bounds.segmentBytes = 300
        let files = MemorySpool(disk: MemoryFileSystem())
        var journal = try SpoolJournal(files, producer: 42, bounds: bounds)
        for number in 0..<50 {
            _ = try journal.seal(draft(200, end: number), target: "t", createdAt: time(number))
            if number >= 3 { try journal.settle(UInt64(number - 3), counts(2)) }
            #expect(try files.names().count < 6, "ended batches hold space")
        }
        #expect(journal.state.heldSequences == [47, 48, 49])
        let before = journal.state
        journal = try SpoolJournal(files, producer: 1, bounds: bounds)
        #expect(journal.state.totals == before.totals)
        #expect(journal.state.inputs == before.inputs)
        #expect(journal.state.heldSequences == before.heldSequences)
        #expect(journal.state.totals.events == 94)
        // One batch that is never answered keeps its segment and all later ones.
        for number in 50..<60 {
            _ = try journal.seal(draft(200, end: number), target: "t", createdAt: time(number))
            try journal.settle(UInt64(number), counts(2))
        }
        #expect(try files.names().count > 4)
        for sequence in journal.state.heldSequences { try journal.settle(sequence, counts(2)) }
        try journal.compact()
        #expect(try files.names().count == 1)
        #expect(try SpoolJournal(files, producer: 1).state.totals.events == 120)
    }

    @Test("missing and exchanged segments are found")
    func exchangedSegments() throws {
        var bounds = SpoolJournal.Bounds()
        bounds.segmentBytes = 100
        let files = MemorySpool(disk: MemoryFileSystem())
        var journal = try SpoolJournal(files, producer: 42, bounds: bounds)
        for number in 0..<4 {
            _ = try journal.seal(draft(200, end: number), target: "t", createdAt: time(number))
        }
        let all = try files.names().sorted().map { ($0, try files.disk.readAll($0)) }
        #expect(all.count == 4)
        for missing in [1, 2] {
            var left = all
            left.remove(at: missing)
            let spool = try MemorySpool.holding(left)
            #expect(throws: SpoolError.self) { try SpoolJournal(spool, producer: 1) }
        }
        var exchanged = all
        (exchanged[1].1, exchanged[2].1) = (all[2].1, all[1].1)
        let spool = try MemorySpool.holding(exchanged)
        #expect(throws: SpoolError.self) { try SpoolJournal(spool, producer: 1) }
        var short = all
        short[1].1.removeLast(3)
        let cut = try MemorySpool.holding(short)
        #expect(throws: SpoolError.self) { try SpoolJournal(cut, producer: 1) }
    }

    @Test("after a failure nothing is written any more")
    func stopped() throws {
        let disk = MemoryFileSystem()
        var journal = try SpoolJournal(MemorySpool(disk: disk), producer: 42)
        _ = try journal.seal(draft(10), target: "t", createdAt: time(1))
        disk.failSyncs(1)
        #expect(throws: SpoolError.self) {
            try journal.seal(draft(10), target: "t", createdAt: time(2))
        }
        let operations = disk.operations
        #expect(throws: SpoolError.self) {
            try journal.seal(draft(10), target: "t", createdAt: time(3))
        }
        #expect(throws: SpoolError.self) { try journal.settle(0, counts(2)) }
        #expect(throws: SpoolError.self) { try journal.sync() }
        #expect(disk.operations == operations, "an fsync that failed was tried again")
    }

    @Test("bounds: the bytes of a batch, and the positions of inputs")
    func bounds() throws {
        var bounds = SpoolJournal.Bounds()
        bounds.stateMax = 1000
        var journal = try SpoolJournal(
            MemorySpool(disk: MemoryFileSystem()), producer: 42, bounds: bounds)
        let tooLarge = SpoolLimits.batchMax + 1
        #expect(
            throws: SpoolError.batchTooLarge(bytes: tooLarge, limit: SpoolLimits.batchMax)
        ) { try journal.seal(draft(tooLarge), target: "t", createdAt: time(1)) }
        var added = 0
        do {
            while added < 100 {
                let input = CutInput(
                    number: added, path: "/\(added)",
                    identity: CutInput.Identity(device: 1, inode: UInt64(added)), format: .clf)
                let mark = CutMark(input: input, end: CutPosition(offset: 1))
                _ = try journal.seal(
                    BatchDraft(body: [1], contentType: "t", events: 1, mark: mark), target: "t",
                    createdAt: time(1))
                added += 1
            }
        } catch {
            #expect(error == .tooManyInputs(limit: 1000))
        }
        #expect(added == 10)
        // Known inputs go on.
        _ = try journal.seal(
            BatchDraft(
                body: [1], contentType: "t", events: 1,
                mark: CutMark(input: journal.state.inputs[3].input, end: CutPosition(offset: 2))),
            target: "t", createdAt: time(1))
    }

    @Test("names of segments are read as they are written")
    func names() {
        #expect(SpoolJournal.name(255) == "00000000000000ff.spool")
        #expect(SpoolJournal.number("00000000000000ff.spool") == 255)
        for other in ["LOCK", "ff.spool", "00000000000000FF.spool", "0000000000000-1f.spool", ""] {
            #expect(SpoolJournal.number(other) == nil, "\(other)")
        }
    }
}
