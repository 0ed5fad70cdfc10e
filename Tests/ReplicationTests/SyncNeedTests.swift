import Core
import Replication
import Storage
import Testing
import Wire

/// What a recovering node asks a source for that lists a batch with its doubt.
@Suite("Needs of a sync")
struct SyncNeedTests {
    private static let mine = PartitionSet((0..<4).map { PartitionID($0) })
    private static let position = LogPosition(file: 1, offset: 0, length: 90)

    private static func record(_ content: UInt8 = 0) -> BatchRecord {
        BatchRecord.home(
            header: BatchHeader(
                id: BatchID(producer: 3, sequence: 0), createdAt: WallTime(milliseconds: 5000),
                contentHash: Hash128(UInt128(content)), rule: RuleVersion(1)),
            home: PartitionID(0), totals: BatchTotals(events: 2, counted: 2, dead: 0),
            slices: [0, 3].map { (partition: PartitionID($0), offset: 0, length: 1, cells: 1) },
            cells: [content], deadLetters: [])
    }

    private static func listed(
        applied: [Int] = [], isBound: Bool = false
    ) -> SyncEntry {
        let record = record()
        return SyncEntry(
            header: record.header, home: record.home, hasRecord: true,
            applied: PartitionSet(applied.map { PartitionID($0) }), isFinished: false,
            isBound: isBound)
    }

    private static func index() -> BatchIndex {
        BatchIndex(
            partitions: 4, mine: mine, key: ForgettingTests.key,
            segmentLength: ForgettingTests.length)
    }

    /// As another source gave them, which knows the batch as bound and holds no more of it.
    private static func indexWithSlices(_ content: UInt8 = 0) throws -> BatchIndex {
        var index = index()
        let slices = try record(content).subset(PartitionSet([PartitionID(3)]))
        index.holdSlices(slices, lsn: LSN(1), at: position)
        return index
    }

    @Test("the record of what is unknown here, with its doubt")
    func unknown() {
        let need = Self.index().need(of: Self.listed(), in: Self.mine)
        #expect(need?.wantsRecord == true && need?.isBound == false)
    }

    @Test("the record also where slices of the same content came from who knew it as bound")
    func slicesAlone() throws {
        let need = try Self.indexWithSlices().need(of: Self.listed(), in: Self.mine)
        #expect(need?.wantsRecord == true && need?.isBound == false)
    }

    @Test("nothing undecided of a batch whose other content is bound here")
    func rival() throws {
        #expect(try Self.indexWithSlices(7).need(of: Self.listed(), in: Self.mine) == nil)
    }

    @Test("nothing undecided where this node holds a record: its own promise stands")
    func promised() {
        var index = Self.index()
        index.hold(Self.record(), lsn: LSN(1), at: Self.position)
        #expect(index.need(of: Self.listed(), in: Self.mine) == nil)
        // What is bound is no promise: it is there before the sync is over.
        let need = index.need(of: Self.listed(applied: [0], isBound: true), in: Self.mine)
        #expect(need?.wantsRecord == true && need?.partitions == PartitionSet([PartitionID(0)]))
    }
}
