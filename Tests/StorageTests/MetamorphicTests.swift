import Core
import Storage
import Testing

/// The same operations under many options: what a store answers must not depend on how large its
/// blocks, files and memtables are, on what it compacts and when, or on where its power failed.
@Suite struct MetamorphicTests {
    enum Operation {
        case apply([RandomSlice])
        case flush
        case compact
        /// Power cut and recovery.
        case crash
        /// Windows come below the floor.
        case raise(RetentionFloor)
        case series([SeriesQuery])
        case scan(ScanSpec)
        case top(Int, ScanAggregate.Order, ScanSpec)
    }

    enum Answer: Equatable {
        case rows([SeriesRow])
        case totals([ScanAggregate.Row])
        case keys([[UInt8]], hasMore: Bool)
        case sums([PartitionID: Measure])
    }

    private static func operations(_ random: inout RandomSource, _ count: Int) -> [Operation] {
        var model = StorageModel()
        var operations: [Operation] = []
        for _ in 0..<count {
            switch random.below(21) {
            case 20:
                // Of the two buckets in which most cells lie.
                operations.append(.raise(RetentionTests.floor(&random, around: 499)))
            case 0..<9:
                let slices = (0..<1 + random.below(4)).map { _ in slice(&random) }
                for slice in slices { model.add(slice) }
                operations.append(.apply(slices))
            case 9, 10: operations.append(.flush)
            case 11: operations.append(.compact)
            case 12: operations.append(.crash)
            case 13..<16:
                let all = MemtableTests.queries(&random, model)
                operations.append(.series((0..<min(8, all.count)).map { _ in random.pick(all) }))
            case 16, 17:
                operations.append(
                    .top(
                        random.below(30), random.pick([.count, .sum]),
                        spec(&random, .totalsByKey)))
            default:
                let after = Array("key-\(random.below(8))".utf8)
                let outputs: [ScanSpec.Output] = [
                    .totalsByKey, .types, .statistics,
                    .keys(prefix: [], after: nil, limit: 5),
                    .keys(prefix: Array("key-".utf8), after: after, limit: 7),
                ]
                operations.append(.scan(spec(&random, random.pick(outputs))))
            }
        }
        return operations
    }

    /// Mostly of a few days: a flush makes one table for every bucket.
    private static func slice(_ random: inout RandomSource) -> RandomSlice {
        var slice = RandomSlice(&random)
        let isWide = random.chance(1, in: 12)
        slice.cells = slice.cells.filter {
            isWide || (22_990_000..<23_010_000).contains($0.key.window)
        }
        return slice
    }

    private static func spec(
        _ random: inout RandomSource, _ output: ScanSpec.Output
    ) -> ScanSpec {
        let partitions: [PartitionSet] = [
            .all, PartitionSet([PartitionID(1), PartitionID(6)]), PartitionSet(),
        ]
        let types: [[UInt8]?] = [nil, nil, Array("view".utf8), Array("absent".utf8)]
        let begins: [Int64?] = [nil, 23_000_000, 23_001_000]
        let ends: [Int64?] = [nil, 23_002_500, 23_004_000]
        return ScanSpec(
            partitions: random.pick(partitions), type: random.pick(types),
            from: random.pick(begins), to: random.pick(ends), output: output)
    }

    // MARK: - The model

    private static func answers(_ operations: [Operation]) -> [Answer] {
        var model = StorageModel()
        var answers: [Answer] = []
        var floor = RetentionFloor.none
        for operation in operations {
            let shown = model.shown(by: floor)
            switch operation {
            case .apply(let slices): for slice in slices { model.add(slice) }
            case .flush, .compact, .crash: break
            case .raise(let next): floor = floor.merged(with: next)
            case .series(let queries): answers += queries.map { .rows(shown.rows($0)) }
            case .scan(let spec): answers.append(shown.scan(spec))
            case .top(let count, let order, let spec):
                answers.append(.totals(shown.top(count, order, spec)))
            }
        }
        return answers
    }

    // MARK: - The stores

    private static func optionSets() -> [MetamorphicStore.Tuning] {
        var sets: [MetamorphicStore.Tuning] = []
        for number in 0..<24 {
            var tuning = MetamorphicStore.Tuning()
            tuning.options.blockTarget = [32 << 10, 1, 100, 1000][number % 4]
            tuning.options.logFileMax = [64 << 20, 400, 4096][number % 3]
            tuning.options.manifestFileMax = [4 << 20, 300][number / 2 % 2]
            tuning.memtableMax = [.max, 1, 4000, 40_000, 12_000][number % 5]
            tuning.tablesMax = [nil, 2, 4, 7, 3][number / 3 % 5]
            tuning.compactionStep = [1 << 20, 1, 700][number / 5 % 3]
            tuning.releasesLog = number % 7 > 2
            tuning.obeys = number % 6 != 0
            tuning.rollsUp = number % 4 != 1
            tuning.moves = number % 3 == 2
            tuning.seed = UInt64(number)
            sets.append(tuning)
        }
        return sets
    }

    @Test("no option changes an answer", arguments: [301, 302, 303] as [UInt64])
    func equalAnswers(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        let operations = Self.operations(&random, 110)
        let expected = Self.answers(operations)
        #expect(expected.count >= 100)
        let sets = Self.optionSets()
        #expect(Set(sets).count >= 20)
        var shapes: Set<[Int]> = []
        var rollups = 0
        var moves = 0
        for tuning in sets {
            var store = try MetamorphicStore(tuning)
            let found = try store.answers(to: operations)
            #expect(found.count == expected.count)
            for (place, pair) in zip(found, expected).enumerated() where pair.0 != pair.1 {
                Issue.record("answer \(place) under \(tuning): \(pair.0), not \(pair.1)")
                break
            }
            shapes.insert([store.flushes, store.compactions, store.tables.count, store.crashes])
            rollups += store.rollups
            moves += store.moves
        }
        // They were different stores.
        #expect(shapes.count >= 12, "\(shapes)")
        #expect(rollups > 10)
        #expect(moves > 10)
    }
}

extension StorageModel {
    /// The cells as a query shows them.
    fileprivate func shown(by floor: RetentionFloor) -> StorageModel {
        guard floor != .none else { return self }
        var shown = StorageModel()
        for (cell, measure) in cells where cell.window >= floor.expired {
            var cell = cell
            cell.window = floor.shown(cell.window, RetentionTests.buckets)
            shown.cells[cell, default: .zero].add(measure)
        }
        return shown
    }

    private func totals(_ spec: ScanSpec, _ group: (Cell) -> [UInt8]) -> [[UInt8]: Measure] {
        var totals: [[UInt8]: Measure] = [:]
        for (cell, measure) in selected(by: spec) {
            totals[group(cell), default: .zero].add(measure)
        }
        return totals
    }

    private static func rows(_ totals: [[UInt8]: Measure]) -> [ScanAggregate.Row] {
        totals.keys.sorted { $0.lexicographicallyPrecedes($1) }.map {
            ScanAggregate.Row(key: $0, measure: totals[$0] ?? .zero)
        }
    }

    func scan(_ spec: ScanSpec) -> MetamorphicTests.Answer {
        switch spec.output {
        case .totalsByKey: return .totals(Self.rows(totals(spec) { $0.key }))
        case .types: return .totals(Self.rows(totals(spec) { $0.type }))
        case .statistics:
            var sums: [PartitionID: Measure] = [:]
            for (cell, measure) in selected(by: spec) {
                sums[cell.partition, default: .zero].add(measure)
            }
            return .sums(sums)
        case .keys(let prefix, let after, let limit):
            let all = Self.rows(totals(spec) { $0.key }).map(\.key).filter { key in
                key.starts(with: prefix)
                    && (after.map { $0.lexicographicallyPrecedes(key) } ?? true)
            }
            return .keys(Array(all.prefix(limit)), hasMore: all.count > limit)
        }
    }

    func top(
        _ count: Int, _ order: ScanAggregate.Order, _ spec: ScanSpec
    ) -> [ScanAggregate.Row] {
        let rows = Self.rows(totals(spec) { $0.key })
        func weight(_ row: ScanAggregate.Row) -> Int128? {
            order == .count ? Int128(row.measure.count) : row.measure.values?.sum
        }
        // The sort is stable: ties stay in the order of their keys.
        return Array(
            rows.compactMap { row in weight(row).map { (weight: $0, row: row) } }
                .sorted { $0.weight > $1.weight }.prefix(count).map(\.row))
    }
}
