import Core
import Replication
import Storage
import Testing
import Wire

/// A start that reads indexes of log files comes to what one comes to that reads all of the log.
@Suite("Starts by indexes of log files")
struct IndexedStartTests {
    private static let options = StorageOptions(digestKey: ForgettingTests.key, logFileMax: 3000)
    private static let mine = PartitionSet((0..<6).map { PartitionID($0) })

    /// A log as a node with these partitions writes it, in a random order: records and slices,
    /// marks soon after them or files later, and whatever else there is.
    private struct Life {
        var random: RandomSource
        let files = MemoryFileSystem()
        var cursor = LogCursor(options: IndexedStartTests.options)
        var writer: LogWriter
        /// Batches with what is still to be marked of them.
        var open: [(record: BatchRecord, rest: PartitionSet)] = []
        var next = 0

        init(seed: UInt64) throws {
            random = RandomSource(seed: seed)
            _ = try Recovery.open(files, options: IndexedStartTests.options) { _, _ in }
            writer = LogWriter(fileSystem: files, cursor: cursor)
        }

        mutating func append(_ kind: LogKind, _ payload: [UInt8]) throws {
            try writer.append([cursor.append(kind: kind.rawValue, payload: payload)])
            try writer.sync()
            cursor.markSynced(cursor.last)
        }

        mutating func step() throws {
            switch random.below(12) {
            case 0..<5: try take()
            case 5..<9: try mark()
            case 9: try finish()
            case 10: try drop()
            default: try say()
            }
        }

        /// At home here: its home record; else the slices of some of this node's partitions.
        private mutating func take() throws {
            let record = IndexedStartTests.record(next)
            next += 1
            let touched = record.partitions.intersection(IndexedStartTests.mine)
            if IndexedStartTests.mine.contains(record.home) {
                try append(.home, record.bytes)
            } else if touched.isEmpty {
                return
            } else {
                // In one piece or one by one.
                let isOne = random.chance(1, in: 2)
                let parts = isOne ? [touched] : touched.map { PartitionSet([$0]) }
                for part in parts { try append(.slices, try record.subset(part).bytes) }
            }
            open.append((record: record, rest: touched))
        }

        private mutating func mark() throws {
            guard !open.isEmpty else { return }
            let place = random.below(open.count)
            var marked = open[place].rest
            if random.chance(1, in: 2) {
                marked = PartitionSet(marked.filter { _ in random.chance(1, in: 2) })
            }
            guard !marked.isEmpty else { return }
            let id = open[place].record.header.id
            try append(.applied, AppliedMark(id: id, partitions: marked).encoded)
            open[place].rest = open[place].rest.subtracting(marked)
            if open[place].rest.isEmpty { open.remove(at: place) }
        }

        private mutating func finish() throws {
            let header = IndexedStartTests.record(random.below(next + 1)).header
            let mark = ProgressMark(
                id: header.id, contentHash: header.contentHash,
                isFinished: random.chance(2, in: 3))
            try append(.progress, mark.encoded)
        }

        private mutating func drop() throws {
            let header = IndexedStartTests.record(random.below(next + 1)).header
            let mark = ProgressMark(
                id: header.id, contentHash: header.contentHash, isFinished: false)
            // What is bound stays.
            let isOpen = open.contains { $0.record.header.id == header.id }
            guard isOpen, random.chance(1, in: 4) else { return }
            open.removeAll { $0.record.header.id == header.id }
            try append(.dropped, mark.encoded)
        }

        private mutating func say() throws {
            let standing = Standing(
                incarnation: Incarnation(1), run: random.next() | 1,
                lsn: LSN(UInt64(random.below(1000))), edits: 3)
            let memory = PeerMemory(node: NodeID("n\(random.below(3))"), standing: standing)
            let below = Segment(Int64(random.below(20)))
            var marks = Watermarks()
            marks.closed = below
            switch random.below(5) {
            case 0: try append(.peer, memory.encoded)
            case 1: try append(.run, RunMark(run: random.next() | 1, edits: 2).encoded)
            case 2: try append(.frozen, SegmentMark(below: below).encoded)
            case 3:
                let state = LogState(marks: marks, peers: [memory], runs: RunHistory())
                try append(.state, state.encoded)
            default: try append(.absence, AbsenceRegister().encoded)
            }
        }
    }

    /// Cells of one series, some letters, in two or three partitions.
    private static func record(_ number: Int) -> BatchRecord {
        var cells: [UInt8] = []
        var slices: [(partition: PartitionID, offset: Int, length: Int, cells: Int)] = []
        for partition in Set([number % 8, (number + 3) % 8, number / 3 % 8]).sorted() {
            var writer = SliceWriter()
            Array("key \(number)".utf8).withUnsafeBytes { key in
                [UInt8(1 + number % 5)].withUnsafeBytes {
                    writer.beginSeries(key: key, type: $0, cells: 1)
                }
            }
            writer.append(window: 29_400_000 + Int64(number), count: UInt64(1 + number % 4))
            let bytes = writer.bytes()
            slices.append(
                (
                    partition: PartitionID(partition), offset: cells.count, length: bytes.count,
                    cells: 1
                ))
            cells += bytes
        }
        let letters = (0..<number % 3).map {
            DeadLetter(
                line: UInt32($0 + 1), reason: .badJSON, detail: "letter \(number)",
                raw: Array(repeating: UInt8(number & 255), count: 20 * $0))
        }
        return BatchRecord.home(
            header: BatchHeader(
                id: BatchID(producer: UInt128(number % 3), sequence: UInt64(number)),
                createdAt: WallTime(milliseconds: Int64(number) * 1000),
                contentHash: Hash128(UInt128(number) &* 0x9e37_79b9_7f4a_7c15), rule: .first),
            home: PartitionID(number % 8),
            totals: BatchTotals(
                events: UInt32(letters.count + 3), counted: 3, dead: UInt32(letters.count)),
            slices: slices, cells: cells, deadLetters: letters)
    }

    private struct Start: ~Copyable {
        var log: RecoveredLog
        let recovered: Recovered
    }

    /// What a start makes of a directory.
    private static func start(
        _ files: MemoryFileSystem, readsIndexes: Bool
    ) throws -> Start {
        var log = RecoveredLog(
            partitions: 8, mine: mine, digestKey: ForgettingTests.key, window: .minute,
            segmentLength: ForgettingTests.length, memtableBytesMax: 1 << 20)
        var options = options
        options.readsLogIndexes = readsIndexes
        var hasBegun = false
        let recovered = try Recovery.open(files, options: options) { record, manifest in
            if !hasBegun { log.begin(manifest) }
            hasBegun = true
            log.visit(
                kind: record.kind, lsn: record.lsn, position: record.position,
                payload: record.payload, isHead: record.isHead)
        }
        try log.replay(after: recovered.manifest.coveredThrough) {
            (position, lsn) throws(StorageError) in
            try LogReader.read(position, expecting: lsn, from: files).payload
        }
        return Start(log: log, recovered: recovered)
    }

    @Test(
        "field by field, wherever the coverage ends and whichever files have an index",
        arguments: UInt64(0)..<24)
    func equal(seed: UInt64) throws {
        var life = try Life(seed: seed)
        for _ in 0..<400 { try life.step() }
        let files = life.files
        let last = life.cursor.file
        try #require(last > 8)
        let runner = StorageRunner(fileSystem: files, options: Self.options)
        let covered = LSN(UInt64(life.random.below(Int(life.cursor.last.number)) + 1))
        var edit = ManifestEdit(coveredThrough: covered)
        if seed % 4 == 3 { edit.voidThrough = LSN(covered.number / 3) }
        _ = try runner.run(.commit(edit)).get()
        var written: [UInt32] = []
        for file in 1..<last where seed % 3 == 0 || life.random.chance(2, in: 3) {
            let plan = LogIndexPlan(
                file: file, covered: covered, batchKinds: LogKind.batchRecords)
            guard case .indexed(let isDone) = try runner.run(.indexLog(plan)).get() else {
                Issue.record("an index gave another result")
                return
            }
            if isDone { written.append(file) }
        }
        var whole = try Self.start(files.clone(), readsIndexes: false)
        var indexed = try Self.start(files.clone(), readsIndexes: true)
        let (found, expected) = (indexed.recovered, whole.recovered)
        #expect(found.indexed == written && expected.indexed.isEmpty)
        #expect(found.remarks.isEmpty && found.damage.isEmpty && found.cursor == expected.cursor)
        // Marks of what is void are malformed, and the same ones.
        let malformed = whole.log.malformed
        #expect(malformed.isEmpty || seed % 4 == 3)
        let differences = indexed.log.differences(from: whole.log)
        #expect(differences.isEmpty)
        let one = indexed.log.takeIndex()
        let other = whole.log.takeIndex()
        #expect(one.count > 50 && one.differences(from: other).isEmpty)
        // The comparison sees what differs.
        let empty = try Self.start(MemoryFileSystem(), readsIndexes: true).log.index
        #expect(!one.differences(from: empty).isEmpty)
    }
}
