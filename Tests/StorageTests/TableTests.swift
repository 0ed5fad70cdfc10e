import Core
import Storage
import Testing

@Suite struct TableTests {
    static let options = StorageModel.options

    /// A directory with one flush in it, its model and its tables.
    static func flushed(
        seed: UInt64, slices: Int, cellCount: Int = 20, keys: Int = 12
    ) throws -> (files: MemoryFileSystem, model: StorageModel, tables: [TableHandle]) {
        var random = RandomSource(seed: seed)
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        var model = StorageModel()
        for _ in 0..<slices {
            let slice = RandomSlice(&random, keys: keys, cellCount: cellCount)
            try memtable.apply(slice)
            model.add(slice)
        }
        let tables = try flush(memtable.freeze(through: LSN(1)), to: files, firstID: 1)
        return (files, model, tables)
    }

    static func flush(
        _ frozen: FrozenMemtable, to files: MemoryFileSystem, firstID: UInt64
    ) throws -> [TableHandle] {
        let runner = StorageRunner(fileSystem: files, options: options)
        guard
            case .tables(let tables) = try runner.run(
                .writeTables(frozen, firstID: firstID)
            ).get()
        else { throw Unexpected() }
        return tables
    }

    struct Unexpected: Error {}

    static func rows(_ query: SeriesQuery, _ tables: [TableHandle]) throws -> [SeriesRow] {
        var rows: [SeriesRow] = []
        for table in tables { try table.series(query, into: &rows) }
        return SeriesRow.merge(rows)
    }

    @Test("a flush makes one table per bucket, and together they answer as the memtable did")
    func roundTrip() throws {
        let (files, model, tables) = try Self.flushed(seed: 11, slices: 400)
        let buckets = Set(model.cells.keys.map { Self.options.buckets.bucket(of: $0.window) })
        #expect(tables.map(\.meta.bucket) == buckets.sorted())
        #expect(tables.map(\.meta.id) == Array(1...UInt64(tables.count)))
        #expect(tables.reduce(0) { $0 + $1.meta.cells } == UInt64(model.cells.count))
        var random = RandomSource(seed: 12)
        for query in MemtableTests.queries(&random, model) {
            #expect(try Self.rows(query, tables) == model.rows(query))
        }
        for partition in PartitionSet.all {
            var digest = StateDigest.zero
            for table in tables { digest.merge(table.stateDigest(of: partition)) }
            #expect(digest == model.digest(of: partition))
        }
        for table in tables {
            try table.verify()
            let again = try TableHandle.open(table.meta, in: files, options: Self.options)
            #expect(again.meta == table.meta)
        }
    }

    @Test("a table of many blocks finds every series, also one that spans blocks")
    func manyBlocks() throws {
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        var model = StorageModel()
        var random = RandomSource(seed: 13)
        for chunk in 0..<30 {
            var cells: [StorageModel.Cell: Measure] = [:]
            for _ in 0..<700 {
                let key = random.chance(1, in: 3) ? "long" : "k\(random.below(3000))"
                let cell = StorageModel.Cell(
                    partition: PartitionID(chunk % 2), key: Array(key.utf8),
                    type: random.pick([[1], [2], [3]]), window: Int64(random.below(46_000)))
                cells[cell] = Measure(event: Int64(bitPattern: random.next()))
            }
            let slice = RandomSlice(partition: PartitionID(chunk % 2), cells: cells)
            try memtable.apply(slice)
            model.add(slice)
        }
        let tables = try Self.flush(memtable.freeze(through: LSN(1)), to: files, firstID: 1)
        #expect(tables.count == 1)
        #expect(tables[0].meta.size > 6 * UInt64(StorageLimits.blockTarget))
        var queries = MemtableTests.queries(&random, model)
        random.shuffle(&queries)
        for query in queries.prefix(150) {
            #expect(try Self.rows(query, tables) == model.rows(query))
        }
        for _ in 0..<100 {
            let from = Int64(random.below(46_000))
            let query = SeriesQuery(
                partition: PartitionID(random.below(2)), key: Array("long".utf8),
                type: [UInt8(1 + random.below(3))], from: from,
                to: from + Int64(random.below(3000)))
            #expect(try Self.rows(query, tables) == model.rows(query))
        }
    }

    @Test("whichever byte of a table is changed, it is noticed, or every answer stays the same")
    func everyByteFlipped() throws {
        let (files, model, tables) = try Self.flushed(seed: 14, slices: 3, cellCount: 10, keys: 4)
        var random = RandomSource(seed: 15)
        let queries = MemtableTests.queries(&random, model)
        for table in tables.prefix(2) {
            let bytes = try #require(files.contents[table.path])
            var noticed = 0
            for offset in bytes.indices {
                for mask in [0x01, 0x80, 0xff] as [UInt8] {
                    var bent = bytes
                    bent[offset] ^= mask
                    files.overwrite(table.path, with: bent)
                    do throws(StorageError) {
                        let opened = try TableHandle.open(
                            table.meta, in: files, options: Self.options)
                        for query in queries {
                            var found: [SeriesRow] = []
                            var expected: [SeriesRow] = []
                            try opened.series(query, into: &found)
                            try table.series(query, into: &expected)
                            #expect(found == expected, "byte \(offset)")
                        }
                        try opened.verify()
                        Issue.record("byte \(offset) can change unnoticed")
                    } catch {
                        noticed += 1
                    }
                }
            }
            #expect(noticed == bytes.count * 3)
            for length in 0..<bytes.count {
                files.overwrite(table.path, with: Array(bytes[0..<length]))
                #expect(throws: StorageError.self) {
                    try TableHandle.open(table.meta, in: files, options: Self.options)
                }
            }
            files.overwrite(table.path, with: bytes)
        }
    }

    @Test("a table under another's name is refused: blocks are bound to their file")
    func foreignFile() throws {
        let (files, _, tables) = try Self.flushed(seed: 16, slices: 50)
        try #require(tables.count >= 2)
        files.overwrite(tables[0].path, with: files.contents[tables[1].path] ?? [])
        #expect(throws: StorageError.self) {
            try TableHandle.open(tables[0].meta, in: files, options: Self.options)
        }
    }

    @Test("a block of another table, at the same place and of the same content, is refused")
    func misdirectedBlock() throws {
        let files = try LogTests.fresh()
        let slice = RandomSlice(
            partition: PartitionID(0),
            cells: [
                StorageModel.Cell(partition: PartitionID(0), key: [1], type: [1], window: 5):
                    Measure(count: 3)
            ])
        var tables: [TableHandle] = []
        for id in [1, 2] as [UInt64] {
            var memtable = StorageModel.memtable()
            try memtable.apply(slice)
            tables += try Self.flush(memtable.freeze(through: LSN(1)), to: files, firstID: id)
        }
        let mine = try #require(files.contents[tables[0].path])
        let theirs = try #require(files.contents[tables[1].path])
        #expect(mine.count == theirs.count)
        // The first frame: sixteen bytes of header, whose stored length stands at byte 8.
        let length = 16 + Int(mine[8])
        #expect(mine[16..<length] == theirs[16..<length])
        files.overwrite(tables[0].path, with: Array(theirs[0..<length] + mine[length...]))
        let opened = try TableHandle.open(tables[0].meta, in: files, options: Self.options)
        #expect(throws: StorageError.self) { try opened.verify() }
    }

    @Test("a newer version is refused with its number")
    func newerVersion() throws {
        let (files, _, tables) = try Self.flushed(seed: 17, slices: 5)
        var bytes = try #require(files.contents[tables[0].path])
        bytes[bytes.count - 12] = 7
        files.overwrite(tables[0].path, with: bytes)
        #expect(
            throws: StorageError.newerFormat(path: tables[0].path, version: 7, known: 4)
        ) {
            try TableHandle.open(tables[0].meta, in: files, options: Self.options)
        }
        // A single bit that flipped is no newer version.
        for version in [0, 5, 6, 12, 132] as [UInt8] {
            bytes[bytes.count - 12] = version
            files.overwrite(tables[0].path, with: bytes)
            let error = #expect(throws: StorageError.self) {
                try TableHandle.open(tables[0].meta, in: files, options: Self.options)
            }
            #expect(error?.isDamage == true)
        }
    }

    @Test("a key filter has no false negative and at most one false positive in a hundred")
    func filterRate() {
        func hash(_ number: Int) -> UInt64 {
            Array("key-\(number)".utf8).withUnsafeBytes { KeyFilter.hash(PartitionID(1), $0) }
        }
        for count in [1, 10, 1000, 20_000] {
            let filter = KeyFilter(hashes: (0..<count).map(hash))
            #expect((0..<count).allSatisfy { filter.mayHold(hash($0)) })
            let false20k = (1_000_000..<1_020_000).filter { filter.mayHold(hash($0)) }.count
            #expect(false20k <= 200, "\(false20k) of 20000 at \(count) keys")
        }
    }

    @Test("dates of all years make no more buckets than the limit says")
    func bucketsAreBounded() {
        let buckets = Self.options.buckets
        var seen: Set<Int64> = []
        var window: Int64 = -1_035_593_280
        while window < 4_223_376_000 {
            #expect(buckets.isPlausible(window: window))
            seen.insert(buckets.bucket(of: window))
            window += 10_000
        }
        #expect(seen.count == StorageLimits.bucketsMax)
        #expect(buckets.bucket(of: -1) == -1)
        #expect(buckets.bucket(of: 0) == 0)
        #expect(buckets.bucket(of: 46_079) == 0)
        #expect(buckets.bucket(of: 46_080) == 1)
        #expect(!buckets.isPlausible(window: .max))
        #expect(!buckets.isPlausible(window: .min))
    }

    @Test("windows before 1970 and far beyond today come back from their tables")
    func farWindows() throws {
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        var model = StorageModel()
        for window in [-1_000_000_000, -46_081, -46_080, -1, 0, 1, 4_000_000_000] as [Int64] {
            let cell = StorageModel.Cell(
                partition: PartitionID(0), key: [1], type: [1], window: window)
            let slice = RandomSlice(
                partition: PartitionID(0), cells: [cell: Measure(event: window)])
            try memtable.apply(slice)
            model.add(slice)
        }
        let tables = try Self.flush(memtable.freeze(through: LSN(1)), to: files, firstID: 1)
        #expect(tables.map(\.meta.bucket) == [-1, 0, Int64(StorageLimits.bucketsMax) - 2])
        let query = SeriesQuery(partition: PartitionID(0), key: [1])
        #expect(try Self.rows(query, tables) == model.rows(query))
    }

    @Test("an empty memtable makes no table")
    func emptyFlush() throws {
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        let frozen = memtable.freeze(through: .zero)
        #expect(try Self.flush(frozen, to: files, firstID: 1).isEmpty)
        #expect(try files.list("sstables").isEmpty)
    }

    @Test("a flush that fails at any operation leaves nothing under a table's name that counts")
    func failingFlush() throws {
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            var failures = 0
            for operation in stride(from: 0, to: 150, by: 3) {
                let files = try LogTests.fresh()
                var random = RandomSource(seed: 18)
                var memtable = StorageModel.memtable()
                for _ in 0..<10 { try memtable.apply(RandomSlice(&random)) }
                let frozen = memtable.freeze(through: LSN(1))
                files.fail(at: files.operations + operation, with: fault)
                let runner = StorageRunner(fileSystem: files, options: Self.options)
                let result = runner.run(.writeTables(frozen, firstID: 1))
                files.clearFaults()
                // A read that fails once is read again, so that not every fault fails the flush.
                if case .failure = result { failures += 1 }
                let (recovered, _) = try LogTests.recover(files)
                #expect(recovered.tables.isEmpty)
                #expect(try files.list("sstables").isEmpty)
            }
            #expect(failures > 15)
        }
    }

    @Test("a damaged block is an error that names file and offset, for reads, scans and scrubs")
    func damagedBlock() throws {
        let (files, model, tables) = try Self.flushed(seed: 19, slices: 20)
        let table = tables[tables.count / 2]
        var bytes = try #require(files.contents[table.path])
        bytes[20] ^= 0xff
        files.overwrite(table.path, with: bytes)
        let opened = try TableHandle.open(table.meta, in: files, options: Self.options)
        let runner = StorageRunner(fileSystem: files, options: Self.options)
        let all = tables.filter { $0 != table } + [opened]
        #expect(try all.count { try runner.verify(.table($0)) != nil } == 1)
        let cell = try #require(
            model.cells.keys.sorted().first {
                Self.options.buckets.bucket(of: $0.window) == table.meta.bucket
            })
        let query = SeriesQuery(partition: cell.partition, key: cell.key)
        let read = runner.run(.series(query, TableSnapshot(tables: [opened]), base: []))
        guard case .failure(.damaged(table.path, 0, _)) = read else {
            Issue.record("a damaged block answered \(read)")
            return
        }
        let scan = runner.run(
            .scan(
                TableSnapshot(tables: [opened]),
                base: ScanAggregate(ScanSpec(partitions: .all, output: .totalsByKey))))
        guard case .failure(.damaged) = scan else {
            Issue.record("a damaged block was scanned")
            return
        }
    }
}
