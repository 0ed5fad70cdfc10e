import Core
import Storage
import Testing

/// Which windows are shown, in which length, and what tables become below a floor.
@Suite struct RetentionTests {
    static let buckets = TimeBuckets(window: .minute)
    private static let day: Duration = .seconds(86_400)

    private static func start(_ bucket: Int64) -> Int64 {
        buckets.windows(ofBucket: bucket).lowerBound
    }

    private static func time(_ window: Int64) -> WallTime { WindowLength.minute.start(of: window) }

    static func floor(_ random: inout RandomSource, around bucket: Int64) -> RetentionFloor {
        let starts = (0..<3).map { _ in
            random.chance(1, in: 4) ? Int64.min : start(bucket + Int64(random.below(3)) - 1)
        }.sorted()
        return RetentionFloor(hours: starts[2], days: starts[1], expired: starts[0])
    }

    @Test("floors follow from the frontier, at the edges of buckets, and never go back with it")
    func floors() {
        let policy = RetentionPolicy(
            base: Self.day * 30, hours: Self.day * 90, days: Self.day * 400)
        #expect(policy.total == Self.day * 400)
        #expect(policy.floor(at: nil, Self.buckets) == .none)
        #expect(
            RetentionPolicy.forever.floor(at: Self.time(30_000_000), Self.buckets) == .none)
        var before = RetentionFloor.none
        for step in 0..<400 {
            let frontier = Self.time(29_000_000 + Int64(step) * 1440)
            let floor = policy.floor(at: frontier, Self.buckets)
            for (edge, keep) in [(floor.hours, 30), (floor.days, 90), (floor.expired, 400)] {
                let age = frontier - Self.day * keep
                let bucket = Self.buckets.bucket(of: WindowLength.minute.window(of: age))
                #expect(edge == Self.start(bucket), "whole buckets, and nothing that is kept")
            }
            #expect(floor.covers(before))
            #expect(floor.merged(with: before) == floor)
            before = floor
        }
    }

    @Test("what is kept longer in a finer length is never coarser; a length for ever ends the rest")
    func policies() {
        let frontier = Self.time(30_000_000)
        let fine = RetentionPolicy(base: Self.day * 90, hours: Self.day * 30, days: Self.day * 10)
        let floor = fine.floor(at: frontier, Self.buckets)
        #expect(floor.hours == floor.days && floor.days == floor.expired && floor.hours > 0)
        #expect(fine.total == Self.day * 90)
        let hoursForEver = RetentionPolicy(base: Self.day, hours: nil, days: Self.day)
        #expect(hoursForEver.total == nil)
        let shown = hoursForEver.floor(at: frontier, Self.buckets)
        #expect(shown.hours > 0 && shown.days == .min && shown.expired == .min)
        // Nothing from before 1970 to be kept: no bucket lies below the first.
        let old = RetentionPolicy(base: .seconds(80 * 366 * 86_400))
        #expect(old.floor(at: frontier, Self.buckets) == .none)
    }

    @Test("a window is read exactly where the hour or day as which it is shown is asked for")
    func ranges() {
        var random = RandomSource(seed: 401)
        var coarse = 0
        for _ in 0..<3000 {
            let bucket = Int64(random.below(500))
            let floor = Self.floor(&random, around: bucket)
            let edge = Self.start(bucket)
            let near = { (random: inout RandomSource) in edge + Int64(random.below(6000)) - 3000 }
            let from = random.chance(1, in: 4) ? nil : near(&random)
            let to = random.chance(1, in: 4) ? nil : near(&random)
            let asked = WindowRange(from: from, to: to)
            let read = floor.windows(shownIn: asked, Self.buckets)
            for _ in 0..<40 {
                let window = near(&random)
                let shown = floor.shown(window, Self.buckets)
                #expect(
                    read.contains(window)
                        == (asked.contains(shown) && window >= floor.expired),
                    "\(window) in \(asked) under \(floor)")
                // Nothing changes once a file holds the cell as it is shown.
                #expect(floor.shown(shown, Self.buckets) == shown)
                #expect(read.contains(shown) == read.contains(window))
                if shown != window { coarse += 1 }
            }
        }
        #expect(coarse > 10_000)
    }

    @Test("hours of a base of an hour are its windows; days hold as many windows as they have")
    func otherBases() {
        let hours = TimeBuckets(window: WindowLength(milliseconds: 3_600_000))
        #expect(hours.windows(in: .hour) == 1 && hours.windows(in: .day) == 24)
        let floor = RetentionFloor(hours: 768, days: .min, expired: .min)
        #expect(floor.granularity(ofBucket: 0, hours) == .base)
        #expect(floor.shown(77, hours) == 77)
        let quarters = TimeBuckets(window: WindowLength(milliseconds: 900_000))
        #expect(quarters.start(of: -1, .hour) == -4 && quarters.start(of: -1, .day) == -96)
    }

    // MARK: - Tables

    private static func shown(_ model: StorageModel, _ granularity: Granularity) -> StorageModel {
        var shown = StorageModel()
        for (cell, measure) in model.cells {
            var cell = cell
            cell.window = buckets.start(of: cell.window, granularity)
            shown.cells[cell, default: .zero].add(measure)
        }
        return shown
    }

    @Test(
        "tables become hours and days, alone and together, and keep their sums",
        arguments: [1, 4], [Granularity.hour, .day])
    func rollup(tables count: Int, to granularity: Granularity) throws {
        let (files, model, tables) = try CompactionTests.flushes(count, seed: 411, slices: 200)
        let coarse = Self.shown(model, granularity)
        #expect(coarse.cells.count < model.cells.count)
        for (place, step) in [1, 300, 1 << 20].enumerated() {
            let compaction = TableCompaction(tables, id: UInt64(20 + place), as: granularity)
            let (table, _) = try CompactionTests.run(compaction, on: files, step: step)
            #expect(table.meta.granularity == granularity)
            #expect(table.meta.cells == UInt64(coarse.cells.count))
            try table.verify()
            for partition in PartitionSet.all {
                #expect(table.stateDigest(of: partition) == model.digest(of: partition))
            }
            for query in Set(
                coarse.cells.keys.map { SeriesQuery(partition: $0.partition, key: $0.key) })
            {
                #expect(try TableTests.rows(query, [table]) == coarse.rows(query))
            }
        }
    }

    @Test("minutes, hours and days of one bucket become one table of days")
    func mixed() throws {
        let (files, model, tables) = try CompactionTests.flushes(5, seed: 421)
        let hours = try CompactionTests.run(
            TableCompaction(Array(tables[0..<2]), id: 20, as: .hour), on: files, step: 1000
        ).table
        let days = try CompactionTests.run(
            TableCompaction([tables[2], hours], id: 21, as: .day), on: files, step: 1000
        ).table
        let all = try CompactionTests.run(
            TableCompaction([tables[3], tables[4], days], id: 22, as: .day), on: files, step: 1000
        ).table
        #expect(all.meta.cells == UInt64(Self.shown(model, .day).cells.count))
        #expect(all.meta.total == model.cells.values.reduce(into: Measure.zero) { $0.add($1) })
        for partition in PartitionSet.all {
            #expect(all.stateDigest(of: partition) == model.digest(of: partition))
        }
    }

    @Test("a rollup that loses a cell or leaves a table out is refused")
    func losses() throws {
        let (files, _, tables) = try CompactionTests.flushes(3, seed: 431)
        let compaction = TableCompaction(tables, id: 20, as: .day, fault: .dropsInput)
        #expect(throws: StorageError.self) {
            try CompactionTests.run(compaction, on: files, step: 1 << 20)
        }
        #expect(!CompactionTests.names(files).contains(FileNames.table(20)))
    }

    // MARK: - Choosing

    @Test("finer tables below the floor are rolled up, within bounds, until none is left")
    func picks() {
        var random = RandomSource(seed: 441)
        var rolled = 0
        for _ in 0..<400 {
            let limits = CompactionPickerTests.limits(&random)
            let picker = CompactionPicker(limits)
            let floor = Self.floor(&random, around: 3)
            var tables = (0..<random.below(40)).map { number in
                TableMeta(
                    id: UInt64(number + 1), granularity: random.pick(Granularity.allCases),
                    bucket: Int64(1 + random.below(5)), size: UInt64(1 + random.below(5000)))
            }
            let room = random.chance(1, in: 3) ? UInt64(random.below(20_000)) : .max
            var next: UInt64 = 100
            while let plan = picker.pickRollup(
                tables, below: floor, Self.buckets, room: room)
            {
                let inputs = tables.filter { plan.inputs.contains($0.id) }
                #expect(inputs.count == plan.inputs.count && inputs.count <= limits.fanInMax)
                #expect(plan.bytes <= room && !plan.isWhole)
                #expect(Set(inputs.map(\.bucket)).count == 1)
                #expect(
                    plan.granularity == floor.granularity(ofBucket: inputs[0].bucket, Self.buckets))
                #expect(
                    inputs.allSatisfy { $0.granularity.rawValue < plan.granularity.rawValue })
                tables.removeAll { plan.inputs.contains($0.id) }
                tables.append(
                    TableMeta(
                        id: next, granularity: plan.granularity, bucket: inputs[0].bucket,
                        size: plan.bytes))
                next += 1
                rolled += 1
            }
            guard room == .max else { continue }
            for table in tables where !floor.hasExpired(bucket: table.bucket, Self.buckets) {
                let wanted = floor.granularity(ofBucket: table.bucket, Self.buckets)
                #expect(table.granularity.rawValue >= wanted.rawValue)
            }
        }
        #expect(rolled > 500)
    }

    // MARK: - The manifest

    @Test("floor and dropped sums come back, as edits and as a snapshot, and never go back")
    func manifest() throws {
        let (files, _, tables) = try CompactionTests.flushes(3, seed: 451)
        let runner = ManifestTests.runner(files)
        _ = try ManifestTests.commit(ManifestEdit(addTables: tables.map(\.meta)), to: runner)
        var retention = Retention(floor: RetentionFloor(hours: 46_080, days: 0, expired: .min))
        retention.drop([tables[0]])
        retention.drop([tables[1]])
        var edit = ManifestEdit(removeTables: [tables[0].meta.id, tables[1].meta.id])
        edit.retention = retention
        let state = try ManifestTests.commit(edit, to: runner)
        #expect(state.retention == retention)
        let events = retention.dropped.values.reduce(0) { $0 + $1.events }
        #expect(events == tables[0].meta.total.count + tables[1].meta.total.count)
        let sums = TableSums([tables[2]], dropped: retention.dropped, partitions: 8)
        let whole = TableSums(tables, partitions: 8)
        for partition in (0..<8).map({ PartitionID($0) }) {
            #expect(sums[partition] == whole[partition])
        }
        var back = ManifestEdit()
        back.retention = Retention(floor: RetentionFloor(hours: 0))
        #expect(state.objection(to: back) != nil)
        #expect(
            try Recovery.open(files, options: StorageModel.options) { _, _ in }
                .manifest.retention == retention)
        // Written anew as one snapshot.
        var small = StorageModel.options
        small.manifestFileMax = 1
        let other = StorageRunner(fileSystem: files, options: small)
        _ = try ManifestTests.commit(ManifestEdit(identity: ManifestTests.identity), to: other)
        #expect(
            try Recovery.open(files, options: StorageModel.options) { _, _ in }
                .manifest.retention == retention)
    }
}
