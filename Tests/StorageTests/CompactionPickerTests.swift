import Core
import Storage
import Testing

/// The picker over tables that exist by their sizes alone.
@Suite struct CompactionPickerTests {
    static func table(_ id: UInt64, bucket: Int64 = 0, size: UInt64) -> TableMeta {
        TableMeta(id: id, bucket: bucket, size: size)
    }

    /// A store in which nothing but sizes happens.
    struct Store {
        var tables: [TableMeta] = []
        var next: UInt64 = 1
        var flushed: UInt64 = 0
        var written: UInt64 = 0

        mutating func flush(_ size: UInt64, bucket: Int64 = 0) {
            tables.append(table(next, bucket: bucket, size: size))
            next += 1
            flushed += size
        }

        /// - Parameter shared: percent of the inputs beyond the greatest that are equal cells.
        mutating func apply(_ plan: CompactionPlan, shared: UInt64 = 0) {
            let inputs = tables.filter { plan.inputs.contains($0.id) }
            let greatest = inputs.map(\.size).max() ?? 0
            let size = greatest + (plan.bytes - greatest) * (100 - shared) / 100
            tables.removeAll { plan.inputs.contains($0.id) }
            tables.append(table(next, bucket: inputs[0].bucket, size: size))
            next += 1
            written += size
        }
    }

    static func check(
        _ plan: CompactionPlan, _ tables: [TableMeta], _ limits: CompactionLimits
    ) {
        let inputs = tables.filter { plan.inputs.contains($0.id) }
        #expect(inputs.count == plan.inputs.count && inputs.count >= 2)
        #expect(plan.inputs == plan.inputs.sorted())
        #expect(Set(inputs.map { TableBucket($0) }).count == 1)
        #expect(inputs.count <= limits.fanInMax)
        #expect(plan.bytes == inputs.reduce(0) { $0 + $1.size })
        let all = tables.filter { TableBucket($0) == TableBucket(inputs[0]) }
        #expect(plan.isWhole == (all.count == inputs.count))
    }

    static func checkRest(_ tables: [TableMeta], _ limits: CompactionLimits) {
        for (_, members) in Dictionary(grouping: tables, by: { TableBucket($0) }) {
            let total = members.reduce(0) { $0 + $1.size }
            guard total <= limits.bytesMax else { continue }
            let greatest = members.map(\.size).max() ?? 0
            #expect(total * 10 <= greatest * 13, "\(members.map(\.size))")
            #expect(SpaceUse(members).amplificationPercent <= 130)
        }
        checkFew(tables, limits)
    }

    static func checkFew(_ tables: [TableMeta], _ limits: CompactionLimits) {
        for (_, members) in Dictionary(grouping: tables, by: { TableBucket($0) })
        where members.reduce(0, { $0 + $1.size }) <= limits.bytesMax {
            #expect(members.count <= limits.tablesAtRestMax, "\(members.count) tables")
        }
    }

    static func limits(_ random: inout RandomSource) -> CompactionLimits {
        var limits = CompactionLimits()
        limits.fanInMax = random.pick([2, 3, 8, 32])
        limits.bytesMax = random.pick([10_000, 1 << 20, 16 << 30])
        limits.tierUnit = random.pick([100, 16 << 10])
        return limits
    }

    @Test("whatever tables there are: every plan is within its bounds, and they come to rest")
    func endsAtRest() {
        var random = RandomSource(seed: 201)
        for _ in 0..<400 {
            let limits = Self.limits(&random)
            let picker = CompactionPicker(limits)
            var store = Store()
            for _ in 0..<random.below(80) {
                let size = UInt64(1 + random.below(1 << (4 + random.below(20))))
                store.flush(size, bucket: Int64(random.below(3)))
            }
            let shared = UInt64(random.below(101))
            // While flushes go on space alone is no reason, but tables stay few.
            while let plan = picker.pick(store.tables, isResting: false) {
                Self.check(plan, store.tables, limits)
                store.apply(plan, shared: shared)
            }
            Self.checkFew(store.tables, limits)
            let before = store.tables.count
            var plans = 0
            while let plan = picker.pick(store.tables) {
                Self.check(plan, store.tables, limits)
                #expect(plan.bytes <= limits.bytesMax)
                #expect(picker.pick(store.tables) == plan, "the same tables, the same plan")
                var shuffled = store.tables
                random.shuffle(&shuffled)
                #expect(picker.pick(shuffled) == plan, "in whatever order they are named")
                store.apply(plan, shared: shared)
                plans += 1
            }
            #expect(plans < max(1, before), "each plan makes fewer tables")
            Self.checkRest(store.tables, limits)
        }
    }

    @Test("tables of another plan, and room that is not there, are left alone")
    func busyTables() {
        var random = RandomSource(seed: 202)
        for _ in 0..<200 {
            let limits = Self.limits(&random)
            let picker = CompactionPicker(limits)
            var store = Store()
            for _ in 0..<40 {
                store.flush(UInt64(1 + random.below(5000)), bucket: Int64(random.below(4)))
            }
            var busy: Set<UInt64> = []
            let room = UInt64(random.below(100_000))
            while let plan = picker.pick(store.tables, room: room, without: busy) {
                #expect(busy.isDisjoint(with: plan.inputs))
                #expect(plan.bytes <= room)
                busy.formUnion(plan.inputs)
            }
            #expect(busy.count <= store.tables.count)
        }
    }

    @Test("asked for a whole bucket, it ends with one table, whatever the size")
    func whole() {
        var random = RandomSource(seed: 203)
        for _ in 0..<200 {
            let limits = Self.limits(&random)
            let picker = CompactionPicker(limits)
            var store = Store()
            for _ in 0..<1 + random.below(100) {
                store.flush(UInt64(1 + random.below(1 << 30)), bucket: Int64(random.below(2)))
            }
            for bucket in Set(store.tables.map { TableBucket($0) }).sorted() {
                while let plan = picker.pickWhole(bucket, store.tables) {
                    Self.check(plan, store.tables, limits)
                    store.apply(plan)
                }
            }
            #expect(store.tables.count == Set(store.tables.map(\.bucket)).count)
            #expect(picker.pick(store.tables) == nil)
            let one = TableBucket(store.tables[0])
            store.flush(1000, bucket: store.tables[0].bucket)
            #expect(picker.pickWhole(one, store.tables, room: 1000) == nil)
        }
    }

    /// What is written per byte that is flushed, flush by flush, with compactions in between.
    private static func amplification(
        flushes: Int, size: (Int) -> UInt64, shared: UInt64, _ limits: CompactionLimits
    ) -> Double {
        let picker = CompactionPicker(limits)
        var store = Store()
        for number in 0..<flushes {
            store.flush(size(number))
            while let plan = picker.pick(store.tables) { store.apply(plan, shared: shared) }
            checkRest(store.tables, limits)
        }
        return Double(store.written) / Double(store.flushed)
    }

    @Test("compactions write at most 6 bytes and one per tier for each that is flushed")
    func writeAmplification() {
        var random = RandomSource(seed: 204)
        let limits = CompactionLimits()
        for flushes in [10, 100, 1000, 4000] {
            for shared in [0, 50, 90, 100] as [UInt64] {
                let tiers = Double(
                    limits.tier(of: UInt64(flushes) << 20) - limits.tier(of: 1 << 20))
                let even = Self.amplification(
                    flushes: flushes, size: { _ in 1 << 20 }, shared: shared, limits)
                #expect(even <= 6 + tiers, "\(flushes) even flushes, \(shared) % shared: \(even)")
                let sizes = (0..<flushes).map { _ in
                    UInt64(1 + random.below(1 << (10 + random.below(14))))
                }
                let uneven = Self.amplification(
                    flushes: flushes, size: { sizes[$0] }, shared: shared, limits)
                #expect(uneven <= 6 + 12, "\(flushes) flushes, \(shared) % shared: \(uneven)")
            }
        }
    }

    @Test("space amplification: what tables take, by the greatest of each bucket and disk")
    func spaceAmplification() {
        #expect(SpaceUse([]).amplificationPercent == 100)
        var tables = [Self.table(1, size: 1000)]
        #expect(SpaceUse(tables).amplificationPercent == 100)
        tables += [Self.table(2, size: 250), Self.table(3, size: 250)]
        #expect(SpaceUse(tables).amplificationPercent == 150)
        // Each bucket for itself: what is large in one hides nothing of another.
        tables += [Self.table(4, bucket: 1, size: 10), Self.table(5, bucket: 1, size: 10)]
        let use = SpaceUse(tables)
        #expect(use.bytes == 1520 && use.leastBytes == 1010)
        #expect(use.amplificationPercent == 150)
        // Days and hours are not merged, nor are two disks.
        tables = [
            Self.table(1, size: 100), TableMeta(id: 2, granularity: .day, bucket: 0, size: 60),
            TableMeta(id: 3, bucket: 0, size: 40, location: .cold),
        ]
        #expect(SpaceUse(tables).amplificationPercent == 100)
        tables = (1...3).map { Self.table($0, size: .max / 4) }
        #expect(SpaceUse(tables).amplificationPercent == 300)
    }

    @Test("tiers: four times as large is one higher")
    func tiers() {
        let limits = CompactionLimits()
        #expect(limits.tier(of: 0) == 0)
        #expect(limits.tier(of: limits.tierUnit - 1) == 0)
        #expect(limits.tier(of: limits.tierUnit) == 1)
        #expect(limits.tier(of: limits.tierUnit * 4 - 1) == 1)
        #expect(limits.tier(of: limits.tierUnit * 4) == 2)
        #expect(limits.tablesAtRestMax <= 40)
    }
}
