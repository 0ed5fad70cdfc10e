import Core
import Replication
import Storage
import Testing
import Wire

@Suite("Letting go of payloads")
struct ReleaseTests {
    private static let mine = PartitionSet([0, 1, 2, 3, 4, 5].map { PartitionID($0) })

    private static func empty(_ base: HistoryBase = .none) -> BatchIndex {
        BatchIndex(
            partitions: 8, mine: mine, key: ForgettingTests.key,
            segmentLength: ForgettingTests.length, base: base)
    }

    /// Each file of the log holds twenty batches. Those whose home is here are held as records, the
    /// others as slices.
    private static func index(_ numbers: Range<Int>) throws -> BatchIndex {
        var index = empty()
        for number in numbers { try hold(number, in: &index) }
        return index
    }

    private static func hold(_ number: Int, in index: inout BatchIndex) throws {
        let record = ForgettingTests.record(number)
        let id = record.header.id
        let lsn = LSN(UInt64(number + 1))
        let position = LogPosition(
            file: UInt32(number / 20 + 1), offset: UInt64(number % 20 * 100), length: 90)
        let touched = record.partitions.intersection(mine)
        if mine.contains(record.home) {
            index.hold(record, lsn: lsn, at: position)
        } else {
            guard !touched.isEmpty else { return }
            index.holdSlices(try record.subset(touched), lsn: lsn, at: position)
        }
        index.markDurable(id, through: lsn)
        index.markBound(id)
        index.markFinished(id)
        let hashes = record.slices.filter { touched.contains($0.partition) }.map {
            (partition: $0.partition, hash: $0.hash)
        }
        index.markApplied(id, hashes, at: .zero)
    }

    /// A draft with what its record says: what the job does.
    private static func filled(_ draft: HuskDraft) -> Husk {
        var husk = draft.husk
        let record = ForgettingTests.record(Int(husk.header.id.sequence))
        husk.applied = record.slices.filter { draft.wanted.contains($0.partition) }.map {
            Husk.Slice(partition: $0.partition, hash: $0.hash)
        }
        return husk
    }

    private static func husks(_ index: BatchIndex, before end: UInt32) -> [Husk] {
        index.segments(before: end).flatMap { index.husks(of: $0, before: end) }.map(filled)
    }

    private static func expectEqual(_ one: BatchIndex, _ other: BatchIndex) {
        #expect(one.ids == other.ids && one.unsettledIDs == other.unsettledIDs)
        #expect(one.homeTotals == other.homeTotals)
        for number in 0..<8 {
            let partition = PartitionID(number)
            #expect(one.digests.total(partition) == other.digests.total(partition))
            #expect(one.digests.homeTotal(partition) == other.digests.homeTotal(partition))
        }
        for id in one.ids {
            let left = one[id]
            let right = other[id]
            #expect(left?.header == right?.header && left?.totals == right?.totals)
            #expect(left?.applied == right?.applied && left?.isBound == right?.isBound)
            #expect(left?.isCounted == right?.isCounted)
            #expect((left?.record == nil) == (right?.record == nil))
        }
    }

    @Test("an entry stays, its place in the log goes; later files are not touched")
    func places() throws {
        var index = try Self.index(0..<100)
        let husks = Self.husks(index, before: 3)
        #expect(!husks.isEmpty && husks.allSatisfy { $0.header.id.sequence < 40 })
        #expect(husks.contains(where: \.hasRecord) && !husks.allSatisfy(\.hasRecord))
        let whole = try Self.index(0..<100)
        index.release(before: 3, through: LSN(40))
        Self.expectEqual(index, whole)
        for id in index.ids {
            let entry = try #require(index[id])
            let isGone = id.sequence < 40
            #expect(entry.isHusk == isGone && entry.files.isEmpty == isGone)
            #expect(entry.husks(of: entry.applied) == (isGone ? entry.applied : PartitionSet()))
            for partition in entry.applied {
                #expect((entry.source(of: partition) == nil) == isGone)
            }
        }
        #expect(index.base.through == LSN(40) && index.logStart == 3)
        #expect(index.oldestFile(from: .first) == 3)
        // What is gone is not said a second time.
        #expect(Self.husks(index, before: 3).isEmpty)
        let later = Self.husks(index, before: 4)
        #expect(!later.isEmpty && later.allSatisfy { (40..<60).contains($0.header.id.sequence) })
    }

    @Test("a start that finds husks and the rest of the log knows what the whole log said")
    func rebuilt() throws {
        let whole = try Self.index(0..<100)
        var index = Self.empty()
        index.release(before: 3, through: LSN(40))
        for husk in Self.husks(whole, before: 3) { index.hold(husk, at: .zero) }
        for number in 40..<100 { try Self.hold(number, in: &index) }
        Self.expectEqual(index, whole)
        // Two files may hold the same husk.
        for husk in Self.husks(whole, before: 2) { index.hold(husk, at: .zero) }
        Self.expectEqual(index, whole)
    }

    @Test("what comes later of a husk is added to it, and goes as a husk of its own")
    func mixed() throws {
        // At home in partition 1; it touches 1 and 4.
        let record = ForgettingTests.record(9)
        let id = record.header.id
        let first = PartitionSet([record.slices[0].partition])
        var index = Self.empty()
        index.holdSlices(
            try record.subset(first), lsn: LSN(1), at: LogPosition(file: 1, offset: 0, length: 90))
        index.markDurable(id, through: LSN(1))
        index.markApplied(
            id, [(partition: record.slices[0].partition, hash: record.slices[0].hash)], at: .zero)
        #expect(index.oldestUnsettledFile == nil)
        let husk = try #require(Self.husks(index, before: 2).first)
        #expect(husk.partitions == first && husk.touched == first && !husk.hasRecord)
        index.release(before: 2, through: LSN(1))
        let second = PartitionSet([record.slices[1].partition])
        index.holdSlices(
            try record.subset(second), lsn: LSN(2), at: LogPosition(file: 2, offset: 0, length: 90))
        #expect(index.oldestUnsettledFile == 2)
        index.markDurable(id, through: LSN(2))
        index.markApplied(
            id, [(partition: record.slices[1].partition, hash: record.slices[1].hash)], at: .zero)
        let entry = try #require(index[id])
        #expect(entry.husks(of: first) == first && entry.husks(of: second).isEmpty)
        let later = try #require(Self.husks(index, before: 3).first)
        #expect(later.partitions == second)
        var union = husk
        union.merge(later)
        #expect(union.partitions == entry.applied)
    }

    @Test("of forgotten segments a start takes no husk")
    func forgotten() throws {
        let whole = try Self.index(0..<100)
        let base = whole.base(
            of: Self.mine, below: Segment(3), through: LSN(50), outcomesFrom: .first)
        var edit = ManifestEdit(logStart: 3)
        edit.base = base
        let files = MemoryFileSystem()
        let options = StorageOptions(digestKey: ForgettingTests.key)
        _ = try Recovery.open(files, options: options) { _, _ in }
        let runner = StorageRunner(fileSystem: files, options: options)
        guard case .committed(let manifest) = try runner.run(.commit(edit)).get() else {
            preconditionFailure("a commit gives a state")
        }
        var log = RecoveredLog(
            partitions: 8, mine: Self.mine, digestKey: ForgettingTests.key, window: .minute,
            segmentLength: ForgettingTests.length, memtableBytesMax: 1 << 20)
        log.begin(manifest)
        for husk in Self.husks(whole, before: 3) { log.take(husk) }
        let ids = log.index.ids
        #expect(ids == whole.ids.filter { (30..<40).contains($0.sequence) })
        // A mark that still lies in the log says nothing new; one beyond the checkpoint does.
        let id = try #require(ids.first)
        let mark = AppliedMark(id: id, partitions: try #require(log.index[id]?.applied))
        for lsn in [LSN(49), LSN(60)] {
            log.visit(
                kind: LogKind.applied.rawValue, lsn: lsn,
                position: LogPosition(file: 3, offset: 0, length: 90), payload: mark.encoded)
        }
        #expect(log.malformed.count == 1)
    }

    @Test("sums below a segment stand for what is held there, until more is forgotten")
    func heldSums() throws {
        var index = try Self.index(0..<100)
        let other = try Self.index(0..<80)
        for end in [Segment(3), Segment(8)] {
            let sum = index.digests.heldSum(of: Self.mine, below: end)
            #expect(sum != nil && sum == other.digests.heldSum(of: Self.mine, below: end))
        }
        #expect(
            index.digests.heldSum(of: Self.mine, below: Segment(9))
                != other.digests.heldSum(of: Self.mine, below: Segment(9)))
        let base = index.base(
            of: Self.mine, below: Segment(5), through: .zero, outcomesFrom: .first)
        index.forget(below: Segment(5), base: base)
        #expect(index.digests.heldSum(of: Self.mine, below: Segment(4)) == nil)
        #expect(
            index.digests.heldSum(of: Self.mine, below: Segment(8))
                == other.digests.heldSum(of: Self.mine, below: Segment(8)))
    }
}
