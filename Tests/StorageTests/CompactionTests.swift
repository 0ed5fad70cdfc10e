import Core
import Storage
import Testing

/// Merging tables: what comes out is what went in, or nothing.
@Suite struct CompactionTests {
    static let options = StorageModel.options

    /// A directory with several flushes of one bucket, and what they hold together.
    static func flushes(
        _ count: Int, seed: UInt64, slices: Int = 30
    ) throws -> (files: MemoryFileSystem, model: StorageModel, tables: [TableHandle]) {
        var random = RandomSource(seed: seed)
        let files = try LogTests.fresh()
        var model = StorageModel()
        var tables: [TableHandle] = []
        for number in 0..<count {
            var memtable = StorageModel.memtable()
            for _ in 0..<slices {
                var slice = RandomSlice(&random)
                slice.cells = slice.cells.filter {
                    (23_000_000..<23_005_000).contains($0.key.window)
                }
                try memtable.apply(slice)
                model.add(slice)
            }
            tables += try TableTests.flush(
                memtable.freeze(through: LSN(UInt64(number) + 1)), to: files,
                firstID: UInt64(tables.count) + 1)
        }
        #expect(tables.count == count)
        return (files, model, tables)
    }

    /// Runs a compaction to its end.
    static func run(
        _ compaction: TableCompaction, on files: MemoryFileSystem, step: Int
    ) throws -> (table: TableHandle, steps: Int) {
        let runner = StorageRunner(fileSystem: files, options: options)
        var read: UInt64 = 0
        for steps in 1... {
            let result = try runner.run(.compact(compaction, bytes: step)).get()
            guard case .compacting(let progress, let table) = result else {
                throw TableTests.Unexpected()
            }
            #expect(progress.read >= read, "progress never goes back")
            read = progress.read
            if let table { return (table, steps) }
        }
        throw TableTests.Unexpected()
    }

    static func names(_ files: MemoryFileSystem) -> [String] {
        files.contents.keys.filter { $0.hasPrefix(FileNames.tableDirectory) }.sorted()
    }

    @Test(
        "the table that comes out answers as all that went in, in whatever steps", arguments: 1...6)
    func holdsTheSum(count: Int) throws {
        let (files, model, tables) = try Self.flushes(count, seed: 210 + UInt64(count))
        let id = UInt64(tables.count) + 7
        for (place, step) in [1, 300, 1 << 20].enumerated() {
            let compaction = TableCompaction(tables, id: id + UInt64(place))
            let (table, steps) = try Self.run(compaction, on: files, step: step)
            #expect(steps >= 2)
            #expect(table.meta.id == id + UInt64(place))
            #expect(table.meta.cells == UInt64(model.cells.count))
            try table.verify()
            for partition in PartitionSet.all {
                #expect(table.stateDigest(of: partition) == model.digest(of: partition))
            }
            var random = RandomSource(seed: 230)
            for query in MemtableTests.queries(&random, model) {
                #expect(try TableTests.rows(query, [table]) == model.rows(query))
            }
            let again = try TableHandle.open(table.meta, in: files, options: Self.options)
            #expect(again.meta == table.meta)
        }
        #expect(!Self.names(files).contains { $0.hasSuffix(FileNames.draftSuffix) })
        for table in tables { try table.verify() }
    }

    @Test("series that span blocks merge cell by cell: counts, sums, least and greatest add up")
    func longSeries() throws {
        var random = RandomSource(seed: 241)
        let files = try LogTests.fresh()
        var model = StorageModel()
        var tables: [TableHandle] = []
        for number in 0..<3 {
            var memtable = StorageModel.memtable()
            for _ in 0..<12 {
                var cells: [StorageModel.Cell: Measure] = [:]
                for _ in 0..<1500 {
                    let cell = StorageModel.Cell(
                        partition: PartitionID(3), key: Array("k\(random.below(4))".utf8),
                        type: random.pick([[1], [2]]), window: Int64(random.below(46_000)))
                    let value = random.chance(1, in: 2) ? Int64(bitPattern: random.next()) : nil
                    cells[cell, default: .zero].add(Measure(event: value))
                }
                let slice = RandomSlice(partition: PartitionID(3), cells: cells)
                try memtable.apply(slice)
                model.add(slice)
            }
            tables += try TableTests.flush(
                memtable.freeze(through: LSN(1)), to: files, firstID: UInt64(number) + 1)
        }
        #expect(tables.allSatisfy { $0.meta.size > 3 * UInt64(StorageLimits.blockTarget) })
        let (table, steps) = try Self.run(
            TableCompaction(tables, id: 9), on: files, step: 20_000)
        #expect(steps > 4)
        #expect(table.meta.cells == UInt64(model.cells.count))
        for query in MemtableTests.queries(&random, model).prefix(60) {
            #expect(try TableTests.rows(query, [table]) == model.rows(query))
        }
    }

    @Test("a damaged input is named, nothing is left of the output, and the inputs stay")
    func damagedInput() throws {
        let (files, _, tables) = try Self.flushes(3, seed: 251)
        let names = Self.names(files)
        let bytes = try #require(files.contents[tables[1].path])
        for offset in [0, 5, 20, bytes.count / 3] {
            var bent = bytes
            bent[offset] ^= 1
            files.overwrite(tables[1].path, with: bent)
            do {
                _ = try Self.run(TableCompaction(tables, id: 20), on: files, step: 100)
                Issue.record("byte \(offset) can change unnoticed")
            } catch let error as StorageError {
                guard case .damaged(let path, _, _) = error else { throw error }
                #expect(path == tables[1].path)
            }
            #expect(Self.names(files) == names)
        }
        files.overwrite(tables[1].path, with: bytes)
        _ = try Self.run(TableCompaction(tables, id: 21), on: files, step: 100)
    }

    @Test("a merge that leaves out an input is refused by its sums, and leaves nothing behind")
    func sumsAreCompared() throws {
        let (files, model, tables) = try Self.flushes(3, seed: 252)
        let names = Self.names(files)
        do {
            let compaction = TableCompaction(tables, id: 20, fault: .dropsInput)
            _ = try Self.run(compaction, on: files, step: 1 << 20)
            Issue.record("an input is missing and nobody notices")
        } catch let error as StorageError {
            #expect(error.isMismatch, "\(error)")
        }
        #expect(Self.names(files) == names)
        // The canary: without the comparison it would have passed.
        let compaction = TableCompaction(tables, id: 21, fault: .losesCell)
        let (table, _) = try Self.run(compaction, on: files, step: 1 << 20)
        #expect(table.meta.cells < UInt64(model.cells.count))
    }

    @Test("whichever operation fails: an error, no draft, and the next attempt succeeds")
    func everyOperationFails() throws {
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            var failures = 0
            for operation in 0..<400 {
                let (files, _, tables) = try Self.flushes(3, seed: 253, slices: 4)
                let names = Self.names(files)
                let target = files.operations + operation
                files.fail(at: target, with: fault)
                do {
                    let compaction = TableCompaction(tables, id: 20)
                    _ = try Self.run(compaction, on: files, step: 200)
                    if files.operations <= target { break }
                    // A read that fails once is tried again.
                    continue
                } catch let error as StorageError {
                    failures += 1
                    files.clearFaults()
                    // After a failed fsync the process ends; its next start cleans up.
                    if error.isFatal { continue }
                }
                #expect(
                    Self.names(files).filter { !names.contains($0) }
                        .allSatisfy { $0 == FileNames.table(20) },
                    "operation \(operation), \(fault)")
                let (table, _) = try Self.run(
                    TableCompaction(tables, id: 21), on: files, step: 200)
                try table.verify()
            }
            #expect(failures > 8)
        }
    }

    @Test("given up between two steps, nothing is left of it")
    func abandoned() throws {
        let (files, _, tables) = try Self.flushes(3, seed: 254)
        let names = Self.names(files)
        let runner = StorageRunner(fileSystem: files, options: Self.options)
        for steps in 0..<2 {
            let compaction = TableCompaction(tables, id: 20)
            for _ in 0..<steps {
                _ = try runner.run(.compact(compaction, bytes: 1)).get()
            }
            guard case .removed = try runner.run(.abandonCompaction(compaction)).get() else {
                throw TableTests.Unexpected()
            }
            #expect(Self.names(files) == names)
        }
    }

    @Test("a folded filter misses no key and is as sharp as one that was made for so many keys")
    func foldedFilter() {
        func hash(_ number: Int) -> UInt64 {
            Array("key-\(number)".utf8).withUnsafeBytes { KeyFilter.hash(PartitionID(1), $0) }
        }
        for (count, expected) in [(5, 5), (900, 3600), (20_000, 21_000), (20_000, 320_000)] {
            var filter = KeyFilter(keysMax: expected)
            for number in 0..<count { filter.insert(hash(number)) }
            filter.fold(toHold: count)
            #expect(filter.byteCount <= 2 * KeyFilter(keysMax: count).byteCount)
            #expect((0..<count).allSatisfy { filter.mayHold(hash($0)) })
            let wrong = (1_000_000..<1_020_000).count { filter.mayHold(hash($0)) }
            #expect(wrong <= 200, "\(wrong) of 20000 at \(count) keys")
        }
    }

    @Test("what replaces tables may have an id from between; what is added to them must be new")
    func idsOfReplacements() throws {
        let (files, _, tables) = try Self.flushes(3, seed: 255)
        let runner = StorageRunner(fileSystem: files, options: Self.options)
        let metas = tables.map(\.meta)
        _ = try ManifestTests.commit(ManifestEdit(addTables: Array(metas[..<2])), to: runner)
        let compaction = TableCompaction(Array(tables[..<2]), id: 3)
        // The flush that came later counts first.
        let (late, _) = try Self.run(TableCompaction([tables[2]], id: 4), on: files, step: 1000)
        _ = try ManifestTests.commit(ManifestEdit(addTables: [late.meta]), to: runner)
        let (table, _) = try Self.run(compaction, on: files, step: 1000)
        let edit = ManifestEdit(addTables: [table.meta], removeTables: [1, 2])
        let state = try ManifestTests.commit(edit, to: runner)
        #expect(state.tables.map(\.id) == [3, 4])
        #expect(state.nextTableID == 5)
        #expect(state.objection(to: edit) != nil, "a second time its inputs are missing")
        for wrong in [
            ManifestEdit(addTables: [metas[0]]),
            ManifestEdit(addTables: [metas[0]], removeTables: [3]),
            ManifestEdit(addTables: [table.meta], removeTables: [3]),
        ] {
            #expect(state.objection(to: wrong) != nil)
        }
    }
}
