import Core
import Ring
import Testing

@Suite("Placement of keys and days")
struct KeyPlacementTests {
    private func placement(
        _ rule: KeyPlacement.Rule, partitions: Int = 64, window: WindowLength = .minute
    ) throws -> KeyPlacement {
        KeyPlacement(rule, try Partitioning(partitions: partitions), window: window)
    }

    /// Of `cassandra-driver` 3.30.1: its `murmur3` of the key's composite serialisation.
    @Test(
        "the token of a key and a day is that of Cassandra's PRIMARY KEY ((text, date))",
        arguments: [
            ("123", 0, 3_409_808_260_209_364_635),
            ("abc", 16_488, 496_069_298_934_399_941),
            ("video-été", -719_162, -5_979_811_515_511_080_145),
            (String(repeating: "x", count: 1024), 2_932_896, 2_055_731_759_217_859_056),
            ("aaaaaaa", -1, 1_013_150_232_774_984_573),
        ] as [(String, Int64, Int64)])
    func tokens(key: String, day: Int64, expected: Int64) throws {
        let placement = try placement(.keyAndDay)
        for window in [day * 1440, day * 1440 + 1439] {
            let token = Array(key.utf8).withUnsafeBytes { placement.token(of: $0, window: window) }
            #expect(token.value == expected)
        }
    }

    @Test("by key a key has one place, whenever it is counted")
    func byKey() throws {
        let placement = try placement(.key)
        let key = Array("abc".utf8)
        let place = placement.partition(of: key, window: 0)
        #expect(placement.windowsPerPlace == nil)
        for window: Int64 in [-1_000_000, -1, 1, 29_400_000] {
            #expect(placement.partition(of: key, window: window) == place)
        }
        #expect(placement.partitions(of: key, from: nil, to: nil) == PartitionSet([place]))
        #expect(placement.partitions(of: key, from: 5, to: 5) == PartitionSet([place]))
        #expect(!placement.splitsKeys(from: nil, to: nil))
    }

    @Test("a range is asked for wherever one of its windows may lie, and nowhere else")
    func ranges() throws {
        var random = RandomSource(seed: 3)
        for length: Int64 in [1000, 60_000, 3_600_000] {
            let placement = try placement(
                .keyAndDay, window: WindowLength(milliseconds: length))
            let day = 86_400_000 / length
            #expect(placement.windowsPerPlace == day)
            for _ in 0..<300 {
                let key = Array("k\(random.below(50))".utf8)
                let from = Int64(random.below(400)) * day / 4 - 50 * day
                let to = from + Int64(random.below(12)) * day / 4
                let places = placement.partitions(of: key, from: from, to: to)
                // Each quarter of a day in the range, and its last window.
                var expected = PartitionSet(
                    stride(from: from, to: to, by: Int(day / 4)).map {
                        placement.partition(of: key, window: $0)
                    })
                expected.insert(placement.partition(of: key, window: max(from, to - 1)))
                #expect(places == expected)
                let days = Set([from, max(from, to - 1)].map { floorDivide($0, day) })
                #expect(placement.splitsKeys(from: from, to: to) == (days.count > 1))
            }
        }
    }

    @Test("a range without bound, or of as many days as partitions, is asked for everywhere")
    func everywhere() throws {
        let placement = try placement(.keyAndDay, partitions: 8)
        let key = Array("abc".utf8)
        let all = PartitionSet(placement.partitioning.all)
        for (from, to) in [(nil, nil), (0, nil), (nil, 0), (0, 8 * 1440)] as [(Int64?, Int64?)] {
            #expect(placement.partitions(of: key, from: from, to: to) == all)
            #expect(placement.splitsKeys(from: from, to: to))
        }
        #expect(placement.partitions(of: key, from: 0, to: 7 * 1440).count <= 7)
    }

    @Test("the days of one key are spread over the ring")
    func spreads() throws {
        let placement = try placement(.keyAndDay, partitions: 16)
        let key = Array("one".utf8)
        var counts: [PartitionID: Int] = [:]
        for day: Int64 in 0..<1600 {
            counts[placement.partition(of: key, window: day * 1440), default: 0] += 1
        }
        #expect(counts.count == 16)
        // 100 are expected, with a standard deviation below 10.
        #expect(counts.values.allSatisfy { (60...140).contains($0) })
    }
}
