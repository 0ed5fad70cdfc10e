import Core
import Replication
import Storage
import Testing
import Wire

@Suite("Forgetting")
struct ForgettingTests {
    static let key = SipKey(low: 1, high: 2)
    static let length: Duration = .seconds(10)
    static let mine = PartitionSet((0..<8).map { PartitionID($0) })

    /// - Parameter content: another one under the same id.
    static func record(_ number: Int, content: Int? = nil) -> BatchRecord {
        let touched = [number % 8, (number + 3) % 8].sorted()
        return BatchRecord.home(
            header: BatchHeader(
                id: BatchID(producer: 1, sequence: UInt64(number)),
                createdAt: WallTime(milliseconds: Int64(number) * 1000),
                contentHash: Hash128(UInt128(content ?? number)), rule: .first),
            home: PartitionID(number % 8),
            totals: BatchTotals(events: 4, counted: 3, dead: 1),
            slices: touched.enumerated().map {
                (partition: PartitionID($1), offset: $0 * 4, length: 4, cells: 1)
            }, cells: [UInt8(number % 250), 2, 3, 4, 5, 6, 7, 8],
            deadLetters: [DeadLetter(line: 1, reason: .badJSON, detail: "", raw: [])])
    }

    static func hold(_ record: BatchRecord, in index: inout BatchIndex) {
        let id = record.header.id
        index.hold(record, lsn: LSN(1), at: LogPosition(file: 1, offset: 0, length: 9))
        index.markDurable(id, through: LSN(1))
        index.markBound(id)
        index.markFinished(id)
        index.markApplied(
            id, record.slices.map { (partition: $0.partition, hash: $0.hash) }, at: .zero)
    }

    static func index(_ numbers: Range<Int>, base: HistoryBase = .none) -> BatchIndex {
        var index = BatchIndex(
            partitions: 8, mine: mine, key: key, segmentLength: length, base: base)
        for number in numbers { hold(record(number), in: &index) }
        return index
    }

    @Test("sums stay the same, entries go, and later sums below a later end are those of all")
    func sums() {
        let whole = Self.index(0..<400)
        var index = Self.index(0..<300)
        let base = index.base(
            of: Self.mine, below: Segment(20), through: LSN(9), outcomesFrom: .first)
        index.forget(below: Segment(20), base: base)
        #expect(index.count == 100 && index.heldSegments.first == Segment(20))
        for number in 300..<400 { Self.hold(Self.record(number), in: &index) }
        #expect(index.homeTotals == whole.homeTotals)
        for partition in Self.mine {
            let only = PartitionSet([partition])
            #expect(index.digests.total(partition) == whole.digests.total(partition))
            #expect(index.digests.homeTotal(partition) == whole.digests.homeTotal(partition))
            #expect(index.digests.floor(of: only) == Segment(20))
            for end in [Segment(20), Segment(25), Segment(99)] {
                #expect(
                    index.digests.appliedSum(of: only, below: end)
                        == whole.digests.appliedSum(of: only, below: end))
                #expect(
                    index.digests.homeSum(of: only, below: end)
                        == whole.digests.homeSum(of: only, below: end))
            }
        }
        // A second time, from what is left.
        let second = index.base(
            of: Self.mine, below: Segment(30), through: LSN(10), outcomesFrom: .first)
        let expected = whole.base(
            of: Self.mine, below: Segment(30), through: LSN(10), outcomesFrom: .first)
        #expect(second == expected)
        #expect(index.oldestFile(from: Segment(30)) == 1)
        #expect(index.oldestFile(from: Segment(99)) == nil)
    }

    @Test("a base that is taken over counts like the batches behind it")
    func install() {
        let whole = Self.index(0..<300)
        let base = whole.base(
            of: Self.mine, below: Segment(20), through: .zero, outcomesFrom: .first)
        var index = Self.index(200..<300)
        index.install(base)
        for partition in Self.mine {
            #expect(index.digests.total(partition) == whole.digests.total(partition))
            #expect(index.digests.homeTotal(partition) == whole.digests.homeTotal(partition))
        }
        #expect(index.homeTotals == whole.homeTotals)
        // What comes again of a forgotten segment counts no second time.
        let before = index.digests.total(PartitionID(0))
        Self.hold(Self.record(8), in: &index)
        #expect(index.digests.total(PartitionID(0)) == before)
        #expect(index[Self.record(8).header.id]?.applied == Self.record(8).partitions)
    }

    @Test("what a partition's base takes does not grow with what is forgotten")
    func memory() {
        // Of a forgotten id there is a filter's 12 bits and its share of a block's place.
        #expect(MemoryLayout<PartitionBase>.stride <= 128)
    }

    // MARK: - A start

    private static func recovered(
        _ manifest: ManifestState, _ records: [(LogKind, [UInt8])]
    ) -> (index: BatchIndex, malformed: [String]) {
        var log = RecoveredLog(
            partitions: 8, mine: mine, digestKey: key, window: .minute, segmentLength: length,
            memtableBytesMax: 1 << 20)
        log.begin(manifest)
        for (place, record) in records.enumerated() {
            log.visit(
                kind: record.0.rawValue, lsn: LSN(UInt64(place + 1)),
                position: LogPosition(file: 1, offset: UInt64(place * 100), length: 100),
                payload: record.1)
        }
        return (log.index, log.malformed)
    }

    /// A manifest that says so, as a start reads it.
    private static func manifest(_ edit: ManifestEdit) throws -> ManifestState {
        let files = MemoryFileSystem()
        let options = StorageOptions(digestKey: key)
        _ = try Recovery.open(files, options: options) { _, _ in }
        let runner = StorageRunner(fileSystem: files, options: options)
        guard case .committed(let state) = try runner.run(.commit(edit)).get() else {
            preconditionFailure("a commit gives a state")
        }
        return state
    }

    @Test("another content of what is bound is damage, and ends no process")
    func secondContent() {
        let first = Self.record(3)
        var header = first.header
        header.contentHash = Hash128(header.contentHash.value ^ 1)
        let second = BatchRecord.home(
            header: header, home: first.home, totals: BatchTotals(events: 1, counted: 1, dead: 0),
            slices: [(partition: PartitionID(1), offset: 0, length: 4, cells: 1)],
            cells: [1, 2, 3, 4], deadLetters: [])
        let bound = ProgressMark(
            id: header.id, contentHash: first.header.contentHash, isFinished: false)
        let (index, malformed) = Self.recovered(
            ManifestState(),
            [(.home, first.bytes), (.progress, bound.encoded), (.home, second.bytes)])
        #expect(malformed.count == 1 && malformed[0].contains("another content"), "\(malformed)")
        #expect(index[header.id]?.header.contentHash == first.header.contentHash)
    }

    @Test("batches of partitions that the cluster does not have are damage, and end no process")
    func foreignPartitions() {
        let header = Self.record(3).header
        let totals = BatchTotals(events: 1, counted: 1, dead: 0)
        let records = [(8, 1), (1, 8)].map { home, slice in
            BatchRecord.home(
                header: header, home: PartitionID(home), totals: totals,
                slices: [(partition: PartitionID(slice), offset: 0, length: 4, cells: 1)],
                cells: [1, 2, 3, 4], deadLetters: [])
        }
        for record in records {
            let progress = ProgressMark(
                id: header.id, contentHash: header.contentHash, isFinished: true)
            let (index, malformed) = Self.recovered(
                ManifestState(), [(.home, record.bytes), (.progress, progress.encoded)])
            #expect(malformed.count == 1 && malformed[0].contains("of 8"), "\(malformed)")
            #expect(index[header.id] == nil)
        }
    }

    @Test("a start begins with the base, and skips what lies in kept files of forgotten batches")
    func start() throws {
        let base = Self.index(0..<100).base(
            of: Self.mine, below: Segment(5), through: LSN(4), outcomesFrom: .first)
        var edit = ManifestEdit()
        edit.base = base
        let manifest = try Self.manifest(edit)
        let old = Self.record(3)
        let young = Self.record(77)
        let mark = { (record: BatchRecord) in
            AppliedMark(id: record.header.id, partitions: record.partitions).encoded
        }
        let (index, malformed) = Self.recovered(
            manifest,
            [
                (.home, old.bytes), (.applied, mark(old)), (.home, young.bytes),
                (.applied, mark(young)),
            ])
        #expect(malformed.isEmpty)
        #expect(index.ids == [young.header.id])
        let expected = Self.index(77..<78, base: base)
        for partition in Self.mine {
            #expect(index.digests.total(partition) == expected.digests.total(partition))
        }
        // Beyond the checkpoint a mark without its batch is what it always was.
        let (_, wrong) = Self.recovered(
            manifest,
            [
                (.home, young.bytes), (.applied, mark(young)), (.home, old.bytes),
                (.applied, mark(old)), (.applied, mark(Self.record(4))),
            ])
        #expect(wrong.count == 1)
    }

    @Test("a start skips the batches of a disk that was set aside, and keeps the memory of peers")
    func setAside() throws {
        var edit = ManifestEdit(coveredThrough: LSN(3))
        edit.voidThrough = LSN(3)
        edit.base = HistoryBase.none
        let record = Self.record(3)
        let mark = AppliedMark(id: record.header.id, partitions: record.partitions).encoded
        let state = LogState(
            marks: Watermarks(),
            peers: [
                PeerMemory(node: NodeID("n2"), standing: Standing(incarnation: Incarnation(4)))
            ], runs: RunHistory(), register: AbsenceRegister())
        let (index, malformed) = Self.recovered(
            try Self.manifest(edit),
            [
                (.home, record.bytes), (.applied, mark), (.state, state.encoded),
                (.home, Self.record(9).bytes),
            ])
        #expect(malformed.isEmpty && index.ids == [Self.record(9).header.id])
    }

    @Test("a start packs what is settled as it goes, also what came as slices alone")
    func packs() throws {
        let home = Self.record(3)
        let slices = try Self.record(4).subset(Self.record(4).partitions)
        let open = Self.record(5)
        let finished = ProgressMark(
            id: home.header.id, contentHash: home.header.contentHash, isFinished: true)
        let mark = { (record: BatchRecord) in
            AppliedMark(id: record.header.id, partitions: record.partitions).encoded
        }
        let (index, malformed) = Self.recovered(
            try Self.manifest(ManifestEdit()),
            [
                (.home, home.bytes), (.slices, slices.bytes), (.home, open.bytes),
                (.applied, mark(home)), (.progress, finished.encoded), (.applied, mark(slices)),
                (.applied, mark(open)),
            ])
        #expect(malformed.isEmpty && index.count == 3)
        #expect(index.unsettledIDs == [open.header.id])
        #expect(index[home.header.id]?.applied == home.partitions)
        #expect(index[slices.header.id]?.applied == slices.partitions)
    }

    @Test("a log's state comes back as it was written")
    func state() throws {
        var marks = Watermarks()
        marks.frozen = Segment(9)
        marks.closed = Segment(8)
        var runs = RunHistory()
        runs.begin(7, at: LSN(3), edits: 1)
        runs.begin(9, at: LSN(20), edits: 2)
        let standing = Standing(incarnation: Incarnation(4), run: 5, lsn: LSN(6))
        let state = LogState(
            marks: marks, peers: [PeerMemory(node: NodeID("n2"), standing: standing)], runs: runs,
            register: MessageCodecTests.register)
        #expect(try LogState(decoding: state.encoded) == state)
    }

    @Test("marks exceed a base only where more is forgotten of a partition that is asked for")
    func marks() {
        let base = Self.index(0..<100).base(
            of: Self.mine, below: Segment(5), through: .zero, outcomesFrom: .first)
        let marks = HistoryMarks(sealed: Segment(7), base, of: Self.mine)
        #expect(!marks.exceed(base, in: Self.mine))
        #expect(marks.exceed(.none, in: Self.mine))
        #expect(!marks.exceed(.none, in: PartitionSet()))
        #expect(marks.floor(of: PartitionID(2)) == Segment(5))
    }
}
