import Core
import Replication
import Storage
import Testing
import Wire

/// What a recovering node asks a source for that lists a batch with its doubt.
@Suite("Needs of a sync")
struct SyncNeedTests {
    private static let mine = ForgettingTests.mine
    private static let record = ForgettingTests.record(0)
    private static let position = LogPosition(file: 1, offset: 0, length: 90)

    private static func listed(
        applied: [Int] = [], isBound: Bool = false
    ) -> SyncEntry {
        SyncEntry(
            header: record.header, home: record.home, hasRecord: true,
            applied: PartitionSet(applied.map { PartitionID($0) }), isFinished: false,
            isBound: isBound)
    }

    private static func empty() -> BatchIndex { ForgettingTests.index(0..<0) }

    /// As another source gave them, which knows the batch as bound and holds no more of it.
    private static func indexWithSlices(of record: BatchRecord) throws -> BatchIndex {
        var index = empty()
        let slices = try record.subset(PartitionSet([PartitionID(3)]))
        index.holdSlices(slices, lsn: LSN(1), at: position)
        return index
    }

    @Test("the record of what is unknown here, with its doubt")
    func unknown() {
        let need = Self.empty().need(of: Self.listed(), in: Self.mine)
        #expect(need?.wantsRecord == true && need?.isBound == false)
    }

    @Test("the record also where slices of the same content came from who knew it as bound")
    func slicesAlone() throws {
        let need = try Self.indexWithSlices(of: Self.record).need(of: Self.listed(), in: Self.mine)
        #expect(need?.wantsRecord == true && need?.isBound == false)
    }

    @Test("nothing undecided of a batch whose other content is bound here")
    func rival() throws {
        let index = try Self.indexWithSlices(of: ForgettingTests.record(0, content: 7))
        #expect(index.need(of: Self.listed(), in: Self.mine) == nil)
    }

    @Test("nothing undecided where this node holds a record: its own promise stands")
    func promised() {
        var index = Self.empty()
        index.hold(Self.record, lsn: LSN(1), at: Self.position)
        #expect(index.need(of: Self.listed(), in: Self.mine) == nil)
        // What is bound is no promise: it is there before the sync is over.
        let need = index.need(of: Self.listed(applied: [0], isBound: true), in: Self.mine)
        #expect(need?.wantsRecord == true && need?.partitions == PartitionSet([PartitionID(0)]))
    }
}
