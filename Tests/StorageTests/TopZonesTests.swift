import Core
import Storage
import Testing
import Wire

/// Top lists over tables of which most blocks are passed over.
@Suite struct TopZonesTests {
    private static let options = {
        var options = StorageModel.options
        options.blockTarget = 160
        return options
    }()

    /// Cells in a memtable, a frozen one and tables of several flushes, in small blocks.
    private struct Store {
        let files: MemoryFileSystem
        let runner: StorageRunner
        var live = StorageModel.memtable()
        var snapshot = TableSnapshot()

        init() throws {
            files = try LogTests.fresh()
            runner = StorageRunner(fileSystem: files, options: TopZonesTests.options)
        }

        mutating func flush() throws {
            let frozen = live.freeze(through: LSN(1))
            live = StorageModel.memtable()
            let firstID = UInt64(100 + snapshot.tables.count * 100)
            guard
                case .tables(let tables) = try runner.run(.writeTables(frozen, firstID: firstID))
                    .get()
            else { throw TableTests.Unexpected() }
            for table in tables { try table.verify() }
            snapshot.tables += tables
        }

        func scan(_ spec: ScanSpec, keeping: ScanAggregate.Top?) throws -> ScanAggregate {
            var base = ScanAggregate(spec, keeping: keeping)
            live.scan(into: &base)
            guard
                case .scanned(let answer) = try runner.run(.scan(snapshot, base: base)).get()
            else { throw TableTests.Unexpected() }
            return answer
        }

        /// Answers must be the same whatever was passed over; how many of the files' blocks were
        /// read.
        func check(_ spec: ScanSpec, _ count: Int, _ order: ScanAggregate.Order) throws -> Int {
            let expected = try scan(spec, keeping: nil).top(count, by: order)
            let before = files.operations
            let kept = try scan(spec, keeping: .init(count, by: order))
            let read = files.operations - before
            #expect(kept.top(count, by: order) == expected, "top \(count) of \(spec) by \(order)")
            return read
        }
    }

    /// Few keys are heavy, as keys are; types beyond those that have bounds of their own.
    private static func fill(_ memtable: inout Memtable, _ random: inout RandomSource) throws {
        var cells: [PartitionID: [StorageModel.Cell: Measure]] = [:]
        for _ in 0..<400 {
            let rank = 1 + random.below(1 + random.below(1 + random.below(300)))
            let partition = PartitionID(rank % StorageModel.partitions)
            let name = random.chance(1, in: 4) ? "type-\(random.below(25))" : "view"
            let isHidden = random.chance(1, in: 30)
            let cell = StorageModel.Cell(
                partition: partition, key: Array("key-\(rank * 7919 % 1000)".utf8),
                type: isHidden ? RetirementMark.type : Array(name.utf8),
                window: 23_000_000 + Int64(random.below(random.chance(1, in: 9) ? 90_000 : 40)))
            let value = random.chance(1, in: 3) ? Int64(random.below(2001)) - 1000 : nil
            cells[partition, default: [:]][cell, default: .zero].add(Measure(event: value))
        }
        for (partition, held) in cells {
            try memtable.apply(RandomSlice(partition: partition, cells: held))
        }
    }

    private static func spec(_ random: inout RandomSource) -> ScanSpec {
        var spec = ScanSpec(partitions: .all, output: .totalsByKey)
        switch random.below(4) {
        case 0: spec.type = Array("view".utf8)
        case 1: spec.type = Array("type-\(random.below(26))".utf8)
        default: break
        }
        if random.chance(1, in: 3) {
            spec.partitions = PartitionSet(
                (0..<StorageModel.partitions).filter { _ in random.chance(1, in: 2) }
                    .map { PartitionID($0) })
        }
        if random.chance(1, in: 3) { spec.from = 23_000_000 + Int64(random.below(60)) }
        if random.chance(1, in: 3) {
            spec.to = (spec.from ?? 23_000_000) + Int64(random.below(60_000))
        }
        return spec
    }

    @Test("a list is the same whether all is read or what cannot matter is passed over")
    func sameList() throws {
        var checks = 0
        var shorter = 0
        for seed: UInt64 in 0..<24 {
            var random = RandomSource(seed: seed)
            var store = try Store()
            if random.chance(1, in: 4) {
                let old = try OldFormatTests.oldTable(OldFormatTests.table2, in: store.files)
                store.snapshot.tables.append(old)
            }
            for _ in 0..<random.below(5) {
                try Self.fill(&store.live, &random)
                try store.flush()
            }
            if random.chance(1, in: 2) {
                try Self.fill(&store.live, &random)
                store.snapshot.frozen.append(store.live.freeze(through: LSN(1)))
                store.live = StorageModel.memtable()
            }
            if random.chance(2, in: 3) { try Self.fill(&store.live, &random) }
            for _ in 0..<20 {
                let spec = Self.spec(&random)
                for order in [ScanAggregate.Order.count, .sum] {
                    let before = store.files.operations
                    _ = try store.scan(spec, keeping: nil)
                    let all = store.files.operations - before
                    let read = try store.check(spec, [1, 2, 5, 20, 400][random.below(5)], order)
                    checks += 1
                    shorter += read < all ? 1 : 0
                }
            }
        }
        #expect(shorter * 20 > checks, "\(shorter) of \(checks) lists passed over any block")
    }

    /// One heavy key in 300, the others alike, in tables of so many keys each.
    private static func store(
        tables: [Int], value: Int64? = nil
    ) throws -> (store: Store, blocks: Int) {
        var store = try Store()
        for count in tables {
            let keys = 3000
            for number in stride(from: 0, to: keys, by: keys / count) {
                let partition = PartitionID(number * StorageModel.partitions / keys)
                let cell = StorageModel.Cell(
                    partition: partition, key: Array("key-\(10_000 + number)".utf8),
                    type: Array("view".utf8), window: 23_000_000)
                var measure = Measure.zero
                let events = number % 300 == 7 ? 40 + number / 300 : 1
                for _ in 0..<events { measure.add(Measure(event: value)) }
                try store.live.apply(RandomSlice(partition: partition, cells: [cell: measure]))
            }
            try store.flush()
        }
        let spec = ScanSpec(partitions: .all, output: .totalsByKey)
        let before = store.files.operations
        _ = try store.scan(spec, keeping: nil)
        return (store, store.files.operations - before)
    }

    @Test("of tables with few heavy keys few blocks are read, by count and by sum")
    func fewBlocks() throws {
        for (tables, value) in [(1, nil), (1, 5), (3, nil), (3, 5)] as [(Int, Int64?)] {
            let (store, blocks) = try Self.store(
                tables: Array(repeating: 3000, count: tables), value: value)
            try #require(blocks > 100 * tables)
            let spec = ScanSpec(
                partitions: .all, type: Array("view".utf8), output: .totalsByKey)
            for order in [ScanAggregate.Order.count, .sum] where order == .count || value != nil {
                let read = try store.check(spec, 5, order)
                #expect(read * 8 < blocks, "\(read) of \(blocks) blocks were read")
            }
            // Of a type that is nowhere, none.
            let absent = ScanSpec(partitions: .all, type: [1], output: .totalsByKey)
            #expect(try store.check(absent, 5, .count) == 0)
            // Where more are wanted than are heavy, all is read, and little of it twice.
            #expect(try store.check(spec, 60, .count) < blocks * 3 / 2)
        }
    }

    @Test("what a memtable holds decides which blocks matter, and a heavy key of it alone ranks")
    func memory() throws {
        var (store, blocks) = try Self.store(tables: [3000, 3000])
        // Two of which tables hold little, and one of which they hold nothing.
        for (number, events) in [(1234, 75), (2345, 84), (99_999, 83)] {
            let partition =
                number < 3000
                ? PartitionID(number * StorageModel.partitions / 3000) : PartitionID(7)
            let cell = StorageModel.Cell(
                partition: partition, key: Array("key-\(10_000 + number)".utf8),
                type: Array("view".utf8), window: 23_000_000)
            try store.live.apply(
                RandomSlice(
                    partition: partition, cells: [cell: Measure(count: UInt64(events))]))
        }
        let spec = ScanSpec(partitions: .all, output: .totalsByKey)
        for count in [1, 2, 5, 13] {
            let read = try store.check(spec, count, .count)
            #expect(read * 4 < blocks, "top \(count): \(read) of \(blocks) blocks were read")
        }
    }

    @Test("short tables beside a long one are not read again and again")
    func shortTables() throws {
        let (store, blocks) = try Self.store(tables: [3000] + Array(repeating: 3, count: 20))
        let spec = ScanSpec(partitions: .all, output: .totalsByKey)
        // All keys but the heavy ones weigh the same: hardly anything can be passed over.
        for count in [1, 5, 20, 100] {
            let read = try store.check(spec, count, .count)
            #expect(read <= blocks * 2, "top \(count): \(read) of \(blocks) blocks were read")
        }
        // No event has a value: the list stays empty, and nothing may be passed over.
        #expect(try store.check(spec, 5, .sum) <= blocks * 2)
    }
}
