import Core
import Storage
import Testing
import Wire

@Suite("Recounts") struct RecountTests {
    private static func events(_ model: StorageModel, _ partition: PartitionID) -> UInt64 {
        model.cells.filter { $0.key.partition == partition }.reduce(0) { $0 + $1.value.count }
    }

    @Test("the sums kept beside the cells are theirs, in memory, frozen and in tables")
    func sums() throws {
        var random = RandomSource(seed: 81)
        var memtable = StorageModel.memtable()
        var model = StorageModel()
        for _ in 0..<120 {
            let slice = RandomSlice(&random)
            try memtable.apply(slice)
            model.add(slice)
        }
        #expect(memtable.recount() == [])
        let live = PartitionSet.all.map { memtable.sum(of: $0) }
        let frozen = memtable.freeze(through: LSN(1))
        let tables = try TableTests.flush(frozen, to: LogTests.fresh(), firstID: 1)
        let sums = TableSums(tables, partitions: StorageModel.partitions)
        for (partition, held) in zip(PartitionSet.all, live) {
            let expected = PartitionSum(
                state: model.digest(of: partition), events: Self.events(model, partition))
            #expect(held == expected)
            #expect(frozen.sum(of: partition) == expected)
            #expect(sums[partition] == expected)
        }
    }

    @Test("a count that changes behind the sums is found by a recount and stops a flush")
    func flippedCell() throws {
        var random = RandomSource(seed: 82)
        var memtable = StorageModel.memtable()
        for _ in 0..<40 { try memtable.apply(RandomSlice(&random)) }
        let isChanged = memtable.corruptCell(of: PartitionID(3))
        #expect(isChanged)
        #expect(memtable.recount() == [PartitionID(3)])
        let runner = StorageRunner(
            fileSystem: try LogTests.fresh(), options: StorageModel.options)
        let result = runner.run(.writeTables(memtable.freeze(through: LSN(1)), firstID: 1))
        guard case .failure(.digestMismatch(_, let what)) = result else {
            Issue.record("the flush of a memtable that lies gave \(result)")
            return
        }
        #expect(what.contains("p3"))
    }

    /// A log with one home record per slice, and where they are.
    private static func log(
        _ slices: [RandomSlice], in files: MemoryFileSystem
    ) throws -> [LogPosition] {
        var positions: [LogPosition] = []
        var cursor = try LogTests.recover(files).recovered.cursor
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        for (number, slice) in slices.enumerated() {
            let bytes = slice.bytes
            let record = BatchRecord.home(
                header: BatchHeader(
                    id: BatchID(producer: 1, sequence: UInt64(number)),
                    createdAt: WallTime(milliseconds: 0), contentHash: Hash128(UInt128(number)),
                    rule: .first),
                home: PartitionID(0), totals: BatchTotals(events: 0, counted: 0, dead: 0),
                slices: [
                    (
                        partition: slice.partition, offset: 0, length: bytes.count,
                        cells: slice.cells.count
                    )
                ], cells: bytes, deadLetters: [])
            let append = cursor.append(kind: 1, payload: record.bytes)
            positions.append(append.position)
            try writer.append([append])
        }
        try writer.sync()
        return positions
    }

    @Test("a recount from the log gives the sums that applying gave, by other code")
    func fromLog() throws {
        var random = RandomSource(seed: 83)
        let slices = (0..<60).map { _ in RandomSlice(&random) }
        let files = try LogTests.fresh()
        let positions = try Self.log(slices, in: files)
        var memtable = StorageModel.memtable()
        for slice in slices { try memtable.apply(slice) }
        let runner = StorageRunner(fileSystem: files, options: StorageModel.options)
        for partition in PartitionSet.all {
            let result = try runner.run(.recount(partition, positions)).get()
            #expect(result == .recounted(memtable.sum(of: partition)))
        }
        let last = try #require(positions.last)
        let path = FileNames.log(last.file)
        var bytes = try #require(files.contents[path])
        bytes[bytes.count - 3] ^= 4
        files.overwrite(path, with: bytes)
        guard case .failure(.damaged) = runner.run(.recount(PartitionID(0), [last])) else {
            Issue.record("a damaged record was counted")
            return
        }
    }

    @Test("a scrub reads the disk, not what was read when the table was opened")
    func scrubReopens() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 84, slices: 6)
        let runner = StorageRunner(fileSystem: files, options: StorageModel.options)
        let table = try #require(tables.first)
        let whole = try #require(files.contents[table.path])
        for place in stride(from: 0, to: whole.count, by: 7) {
            var bytes = whole
            bytes[place] ^= 1 << UInt8(place % 8)
            files.overwrite(table.path, with: bytes)
            guard try runner.verify(.table(table)) != nil else {
                Issue.record("byte \(place) of \(whole.count) changed, and nobody sees it")
                return
            }
        }
        try files.remove(table.path)
        #expect(try runner.verify(.table(table)) != nil)
    }
}
