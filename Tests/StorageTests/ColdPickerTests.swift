import Core
import Storage
import Testing

/// Which tables move, over tables that exist by their sizes alone.
@Suite("The picker and the cold disk")
struct ColdPickerTests {
    private static let buckets = RetentionTests.buckets

    /// A few tables of a few buckets, on either disk, in any form.
    private static func tables(_ random: inout RandomSource) -> [TableMeta] {
        (0..<random.below(40)).map { number in
            TableMeta(
                id: UInt64(number) + 1, granularity: random.pick(Granularity.allCases),
                bucket: Int64(random.below(6)),
                size: UInt64(1 + random.below(1 << (4 + random.below(16)))),
                location: random.chance(1, in: 3) ? .cold : .hot)
        }
    }

    private static func floor(_ random: inout RandomSource) -> RetentionFloor {
        guard random.chance(1, in: 2) else { return .none }
        let edges = (0..<3).map { _ in
            let bucket = Int64(random.below(5))
            return bucket == 0 ? Int64.min : buckets.windows(ofBucket: bucket).lowerBound
        }.sorted()
        return RetentionFloor(hours: edges[2], days: edges[1], expired: edges[0])
    }

    /// As a node asks.
    private static func plan(
        _ picker: CompactionPicker, _ tables: [TableMeta], _ floor: RetentionFloor,
        room: UInt64 = .max, _ cold: ColdRule
    ) -> CompactionPlan? {
        picker.pick(tables, isResting: false, room: room, cold: cold)
            ?? picker.pickCold(tables, cold, below: floor, buckets)
            ?? picker.pickRollup(tables, below: floor, buckets, room: room, cold: cold)
            ?? picker.pick(tables, room: room, cold: cold)
    }

    @Test("whatever tables there are: no plan mixes disks, all end, and nothing cold stays hot")
    func endsAtRest() {
        var random = RandomSource(seed: 421)
        var moves = 0
        for _ in 0..<600 {
            let picker = CompactionPicker(CompactionPickerTests.limits(&random))
            var tables = Self.tables(&random)
            let floor = Self.floor(&random)
            let cold = ColdRule(before: Int64(random.below(7)))
            var plans = 0
            while let plan = Self.plan(picker, tables, floor, cold) {
                let inputs = tables.filter { plan.inputs.contains($0.id) }
                #expect(Set(inputs.map(\.location)).count == 1)
                #expect(Set(inputs.map(\.bucket)).count == 1)
                #expect(inputs.allSatisfy { $0.granularity.rawValue <= plan.granularity.rawValue })
                let isCold = inputs[0].location == .cold || inputs[0].bucket < cold.before
                #expect(plan.location == (isCold ? .cold : .hot))
                #expect(plan.bytes == inputs.reduce(0) { $0 + $1.size })
                if inputs[0].location != plan.location { moves += 1 }
                tables.removeAll { plan.inputs.contains($0.id) }
                tables.append(
                    TableMeta(
                        id: UInt64(100 + plans), granularity: plan.granularity,
                        bucket: inputs[0].bucket, size: plan.bytes, location: plan.location))
                plans += 1
                #expect(plans <= 200, "it never ends")
                if plans > 200 { return }
            }
            for table in tables
            where table.bucket < cold.before
                && !floor.hasExpired(bucket: table.bucket, Self.buckets)
            {
                #expect(table.location == .cold, "\(table.id) of \(table.bucket)")
                let wanted = floor.granularity(ofBucket: table.bucket, Self.buckets)
                #expect(table.granularity.rawValue >= wanted.rawValue)
            }
        }
        #expect(moves > 500)
    }

    @Test("the cold disk's room bounds what goes there, and nothing else")
    func room() {
        var random = RandomSource(seed: 422)
        for _ in 0..<300 {
            let picker = CompactionPicker(CompactionPickerTests.limits(&random))
            let tables = Self.tables(&random)
            let floor = Self.floor(&random)
            let hotRoom: UInt64 = random.pick([0, 3000, .max])
            let cold = ColdRule(before: 4, room: random.pick([0, 3000, 40_000]))
            guard let plan = Self.plan(picker, tables, floor, room: hotRoom, cold) else { continue }
            #expect(plan.bytes <= (plan.location == .cold ? cold.room : hotRoom))
        }
        let few = [TableMeta(id: 1, bucket: 0, size: 10), TableMeta(id: 2, bucket: 0, size: 11)]
        let full = ColdRule(before: 1, room: 0)
        #expect(CompactionPicker().pickCold(few, full, Self.buckets) == nil)
        #expect(CompactionPicker().pick(few, cold: full)?.location == .hot)
        #expect(CompactionPicker().pick(few, cold: ColdRule(before: 1))?.location == .cold)
        let narrow = ColdRule(before: 1, room: 10)
        #expect(CompactionPicker().pickCold(few, narrow, Self.buckets)?.inputs == [1])
        #expect(
            CompactionPicker().pickCold(few, ColdRule(before: 1), Self.buckets, without: [1])?
                .inputs == [2])
    }

    @Test("a bucket is cold when its last window ended long enough before the frontier")
    func whatIsCold() {
        let span: Int64 = 32 * 86_400_000
        let age = Duration.milliseconds(40 * 86_400_000)
        let end = 700 * span
        for (late, before) in [(-1 as Int64, 699 as Int64), (0, 700), (span - 1, 700), (span, 701)]
        {
            let frontier = WallTime(milliseconds: end + age.milliseconds + late)
            #expect(ColdRule(after: age, frontier: frontier, Self.buckets).before == before)
        }
        #expect(ColdRule(after: age, frontier: nil, Self.buckets) == .none)
        let first = WallTime(milliseconds: .min)
        #expect(ColdRule(after: age, frontier: first, Self.buckets) == .none)
    }
}
