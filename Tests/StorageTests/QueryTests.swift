import Core
import Storage
import Testing
import Wire

@Suite struct QueryTests {
    /// Cells spread over a live memtable, two frozen ones and the tables of three flushes.
    final class Store {
        let memtable: Memtable
        let model: StorageModel
        let snapshot: TableSnapshot
        let files: MemoryFileSystem

        init(seed: UInt64) throws {
            let files = try LogTests.fresh()
            var random = RandomSource(seed: seed)
            var live = StorageModel.memtable()
            var model = StorageModel()
            var snapshot = TableSnapshot()
            for stage in 0..<6 {
                for _ in 0..<60 {
                    let slice = RandomSlice(&random)
                    try live.apply(slice)
                    model.add(slice)
                }
                guard stage < 5 else { break }
                let frozen = live.freeze(through: LSN(1))
                live = StorageModel.memtable()
                if stage < 3 {
                    snapshot.tables += try TableTests.flush(
                        frozen, to: files, firstID: UInt64(1 + stage * 2000))
                } else {
                    snapshot.frozen.append(frozen)
                }
            }
            memtable = live
            self.model = model
            self.snapshot = snapshot
            self.files = files
        }

        func scan(
            _ spec: ScanSpec, keeping: ScanAggregate.Top? = nil
        ) throws -> ScanAggregate {
            var aggregate = ScanAggregate(spec, keeping: keeping)
            memtable.scan(into: &aggregate)
            let runner = StorageRunner(fileSystem: files, options: StorageModel.options)
            let result = try runner.run(.scan(snapshot, base: aggregate)).get()
            guard case .scanned(let scanned) = result else { throw TableTests.Unexpected() }
            return scanned
        }
    }

    static func specs(_ output: ScanSpec.Output) -> [ScanSpec] {
        [
            ScanSpec(partitions: .all, output: output),
            ScanSpec(partitions: .all, type: Array("view".utf8), output: output),
            ScanSpec(
                partitions: PartitionSet([PartitionID(1), PartitionID(6)]), from: 23_000_000,
                to: 23_002_500, output: output),
            ScanSpec(partitions: PartitionSet(), output: output),
            ScanSpec(partitions: .all, type: Array("absent".utf8), output: output),
        ]
    }

    @Test("a series over memtable, frozen memtables and tables is the model's")
    func series() throws {
        let store = try Store(seed: 21)
        var random = RandomSource(seed: 22)
        let runner = StorageRunner(fileSystem: store.files, options: StorageModel.options)
        for query in MemtableTests.queries(&random, store.model) {
            let base = store.memtable.series(query)
            let result = try runner.run(.series(query, store.snapshot, base: base)).get()
            #expect(result == .rows(store.model.rows(query)))
        }
    }

    @Test("totals by key and by type are the model's")
    func totals() throws {
        let store = try Store(seed: 23)
        for spec in Self.specs(.totalsByKey) {
            var expected: [[UInt8]: Measure] = [:]
            for (cell, measure) in store.model.selected(by: spec) {
                expected[cell.key, default: .zero].add(measure)
            }
            let rows = try store.scan(spec).rows
            #expect(rows.map(\.key) == expected.keys.sorted { $0.lexicographicallyPrecedes($1) })
            #expect(rows.allSatisfy { expected[$0.key] == $0.measure })
        }
        for spec in Self.specs(.types) {
            var expected: [[UInt8]: Measure] = [:]
            for (cell, measure) in store.model.selected(by: spec) {
                expected[cell.type, default: .zero].add(measure)
            }
            let rows = try store.scan(spec).rows
            #expect(rows.count == expected.count)
            #expect(rows.allSatisfy { expected[$0.key] == $0.measure })
        }
    }

    @Test("the top K by count and by sum are exact, ties by key")
    func top() throws {
        let store = try Store(seed: 24)
        for spec in Self.specs(.totalsByKey) {
            let aggregate = try store.scan(spec)
            let rows = aggregate.rows
            for count in [0, 1, 5, 1000] {
                let byCount = rows.enumerated().sorted {
                    ($1.element.measure.count, $0.offset) < ($0.element.measure.count, $1.offset)
                }.prefix(count).map(\.element)
                #expect(aggregate.top(count, by: .count) == byCount)
                let bySum = rows.enumerated().filter { $0.element.measure.values != nil }.sorted {
                    let mine = $0.element.measure.values?.sum ?? 0
                    let theirs = $1.element.measure.values?.sum ?? 0
                    return (theirs, $0.offset) < (mine, $1.offset)
                }.prefix(count).map(\.element)
                #expect(aggregate.top(count, by: .sum) == bySum)
            }
        }
        var tied = ScanAggregate(ScanSpec(partitions: .all, output: .totalsByKey))
        for key in ["d", "a", "c", "b"] {
            Array(key.utf8).withUnsafeBytes {
                tied.add(PartitionID(0), key: $0, type: $0, window: 0, Measure(count: 3))
            }
        }
        #expect(tied.top(3, by: .count).map(\.key) == [[97], [98], [99]])
    }

    @Test("a scan that keeps the top K alone has the same K, whether memtables or tables hold them")
    func keptTop() throws {
        for seed: UInt64 in 30..<34 {
            let store = try Store(seed: seed)
            for spec in Self.specs(.totalsByKey) {
                let all = try store.scan(spec)
                for count in [0, 1, 3, 17, 1000] {
                    for order in [ScanAggregate.Order.count, .sum] {
                        let kept = try store.scan(spec, keeping: .init(count, by: order))
                        #expect(kept.top(count, by: order) == all.top(count, by: order))
                        #expect(kept.count <= count)
                    }
                }
            }
        }
    }

    @Test("where nothing ranks, or more than the most that are kept, all is gathered")
    func keepsAll() throws {
        let store = try Store(seed: 36)
        let runner = StorageRunner(fileSystem: store.files, options: StorageModel.options)
        /// How many keys are held, of which one has no values and does not rank by sum.
        func held(_ top: ScanAggregate.Top?) throws -> Int {
            var base = ScanAggregate(
                ScanSpec(partitions: .all, output: .totalsByKey), keeping: top)
            Array("plain".utf8).withUnsafeBytes {
                base.add(PartitionID(0), key: $0, type: $0, window: 0, Measure(count: 1))
            }
            let result = try runner.run(.scan(store.snapshot, base: base)).get()
            guard case .scanned(let aggregate) = result else { throw TableTests.Unexpected() }
            return aggregate.count
        }
        let all = try held(nil)
        #expect(try held(.init(StorageLimits.topKeptMax, by: .count)) == all)
        #expect(try held(.init(StorageLimits.topKeptMax, by: .sum)) < all)
        #expect(try held(.init(StorageLimits.topKeptMax + 1, by: .sum)) == all)
        let types = ScanSpec(partitions: .all, output: .types)
        #expect(try store.scan(types, keeping: .init(1, by: .count)) == store.scan(types))
    }

    @Test("equal totals over several tables and a memtable are kept by ascending key")
    func keptTies() throws {
        let files = try LogTests.fresh()
        var snapshot = TableSnapshot()
        var random = RandomSource(seed: 35)
        var expected: [[UInt8]: UInt64] = [:]
        var live = StorageModel.memtable()
        for round in 0..<5 {
            for number in 0..<40 where round == 4 || random.below(2) == 0 {
                let key = Array("k\(number)".utf8)
                let count = UInt64(1 + random.below(2))
                expected[key, default: 0] += count
                let other = Array("t\(random.below(3))".utf8)
                var writer = SliceWriter()
                key.withUnsafeBytes { key in
                    other.withUnsafeBytes { writer.beginSeries(key: key, type: $0, cells: 1) }
                }
                writer.append(window: 23_000_000 + Int64(random.below(3)), count: count)
                let slice = writer.bytes()
                var fault: SliceError?
                slice.withUnsafeBytes { buffer in
                    do throws(SliceError) {
                        try live.apply(slice: buffer, partition: PartitionID(number % 3))
                    } catch {
                        fault = error
                    }
                }
                #expect(fault == nil)
            }
            guard round < 4 else { break }
            let frozen = live.freeze(through: LSN(1))
            live = StorageModel.memtable()
            snapshot.tables += try TableTests.flush(
                frozen, to: files, firstID: UInt64(1 + round * 100))
        }
        #expect(snapshot.tables.count == 4)
        let sorted = expected.sorted {
            $0.value != $1.value
                ? $0.value > $1.value : $0.key.lexicographicallyPrecedes($1.key)
        }.map { ScanAggregate.Row(key: $0.key, measure: Measure(count: $0.value)) }
        let runner = StorageRunner(fileSystem: files, options: StorageModel.options)
        for count in [1, 2, 10, 39, 40, 50] {
            var base = ScanAggregate(
                ScanSpec(partitions: .all, output: .totalsByKey), keeping: .init(count, by: .count))
            live.scan(into: &base)
            let result = try runner.run(.scan(snapshot, base: base)).get()
            guard case .scanned(let kept) = result else { throw TableTests.Unexpected() }
            #expect(kept.top(count, by: .count) == Array(sorted.prefix(count)))
        }
    }

    @Test("keys are listed page by page, none twice, none left out")
    func keys() throws {
        let store = try Store(seed: 25)
        for prefix in ["", "key-3", "key-1-1", "none"] {
            let expected = Set(store.model.cells.keys.map(\.key))
                .filter { $0.starts(with: Array(prefix.utf8)) }
                .sorted { $0.lexicographicallyPrecedes($1) }
            for limit in [1, 7, 1000] {
                var listed: [[UInt8]] = []
                while true {
                    let spec = ScanSpec(
                        partitions: .all,
                        output: .keys(
                            prefix: Array(prefix.utf8), after: listed.last, limit: limit))
                    let page = try store.scan(spec).keys()
                    listed += page.keys
                    #expect(page.keys.count <= limit)
                    guard page.hasMore else { break }
                }
                #expect(listed == expected)
            }
        }
    }

    @Test("a listing of very many keys keeps only its page in memory")
    func keysAreBounded() {
        let spec = ScanSpec(
            partitions: .all, output: .keys(prefix: [], after: nil, limit: 10))
        var aggregate = ScanAggregate(spec)
        for number in 0..<20_000 {
            Array("key-\(number * 7919 % 20_000)".utf8).withUnsafeBytes {
                aggregate.add(PartitionID(0), key: $0, type: $0, window: 0, Measure(count: 1))
            }
            #expect(aggregate.count <= 20 + 1024 + 1)
        }
        let (keys, hasMore) = aggregate.keys()
        #expect(hasMore)
        #expect(keys.count == 10)
        #expect(keys.first == Array("key-0".utf8))
        #expect(keys.last == Array("key-10004".utf8))
    }

    @Test("statistics add up to every event, partition by partition")
    func statistics() throws {
        let store = try Store(seed: 26)
        for spec in Self.specs(.statistics) {
            var expected: [PartitionID: Measure] = [:]
            for (cell, measure) in store.model.selected(by: spec) {
                expected[cell.partition, default: .zero].add(measure)
            }
            let found = try store.scan(spec).partitionStatistics
            #expect(found.map(\.partition) == expected.keys.sorted())
            #expect(found.allSatisfy { expected[$0.partition] == $0.statistics.total })
        }
    }

    @Test("aggregates merge to what one would have gathered, and survive the wire")
    func mergeAndWire() throws {
        let store = try Store(seed: 27)
        let outputs: [ScanSpec.Output] = [
            .totalsByKey, .types, .statistics, .keys(prefix: [], after: nil, limit: 9),
        ]
        for output in outputs {
            let spec = ScanSpec(partitions: .all, output: output)
            let whole = try store.scan(spec)
            var left = ScanAggregate(spec)
            var right = ScanAggregate(spec, seed: 99)
            store.memtable.scan(into: &left)
            for frozen in store.snapshot.frozen { frozen.scan(into: &right) }
            for table in store.snapshot.tables { try table.scan(into: &right) }
            left.merge(right)
            if case .keys = output {
                #expect(left.keys() == whole.keys())
            } else {
                #expect(left == whole)
            }
            var writer = ByteWriter()
            writer.write(whole)
            var reader = ByteReader(writer.bytes)
            let read = try reader.aggregate(of: spec)
            try reader.finish()
            #expect(read == whole)
            for length in 0..<min(writer.bytes.count, 300) {
                var short = ByteReader(Array(writer.bytes[0..<length]))
                #expect(throws: DecodeError.self) { try short.aggregate(of: spec) }
            }
        }
    }

    @Test("a scan that outgrows its memory is an error, never a part of the answer")
    func scanLimit() throws {
        let store = try Store(seed: 28)
        let spec = ScanSpec(partitions: .all, output: .totalsByKey)
        let runner = StorageRunner(fileSystem: store.files, options: StorageModel.options)
        let enough = try store.scan(spec).byteCount
        let fits = runner.run(.scan(store.snapshot, base: ScanAggregate(spec, bytesMax: enough)))
        guard case .success = fits else {
            Issue.record("a scan within its limit was refused")
            return
        }
        for frozen in [[], store.snapshot.frozen] {
            let snapshot = TableSnapshot(frozen: frozen, tables: store.snapshot.tables)
            let small = ScanAggregate(spec, bytesMax: enough / 4)
            guard case .failure(.scanTooLarge) = runner.run(.scan(snapshot, base: small)) else {
                Issue.record("a scan beyond its limit was answered")
                return
            }
        }
        #expect(ScanAggregate(spec).isWithinLimit)
    }

    @Test("a page of keys is never longer than the limit, whatever was asked")
    func pageLimit() {
        let spec = ScanSpec(
            partitions: .all, output: .keys(prefix: [], after: nil, limit: .max))
        var aggregate = ScanAggregate(spec)
        for number in 0..<StorageLimits.keysPageMax + 10 {
            withUnsafeBytes(of: number.bigEndian) {
                aggregate.add(PartitionID(0), key: $0, type: $0, window: 0, Measure(count: 1))
            }
        }
        let (keys, hasMore) = aggregate.keys()
        #expect(keys.count == StorageLimits.keysPageMax)
        #expect(hasMore)
    }

    @Test("a measure from outside that could overflow a sum is refused")
    func measureLimit() throws {
        func decoded(_ measure: Measure) throws(DecodeError) -> Measure {
            var writer = ByteWriter()
            writer.write(measure)
            var reader = ByteReader(writer.bytes)
            return try reader.measure()
        }
        let most = Measure(count: StorageLimits.measureCountMax)
        #expect(try decoded(most) == most)
        let tooMany = Measure(count: StorageLimits.measureCountMax + 1)
        #expect(throws: DecodeError.self) { try decoded(tooMany) }
        for values in [
            Measure.Values(count: 3, sum: 3, min: 1, max: 1),
            Measure.Values(count: 1, sum: 9, min: 1, max: 2),
            Measure.Values(count: 1, sum: 1, min: 2, max: 1),
            Measure.Values(count: 0, sum: 0, min: 0, max: 0),
        ] {
            #expect(throws: DecodeError.self) { try decoded(Measure(count: 2, values: values)) }
        }
    }
}
