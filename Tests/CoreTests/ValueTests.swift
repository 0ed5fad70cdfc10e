import Core
import Testing

@Suite struct ValueTests {
    @Test("division rounds down on both sides of zero", arguments: [1, 2, 7, 60_000] as [Int64])
    func floors(divisor: Int64) {
        for dividend in Int64(-200)...200 {
            let quotient = floorDivide(dividend, divisor)
            #expect(quotient * divisor <= dividend && dividend < (quotient + 1) * divisor)
        }
        #expect(floorDivide(.max, divisor) == .max / divisor)
        let least = floorDivide(.min, divisor)
        #expect(
            least == (divisor == 1 ? .min : (.min / divisor) - (Int64.min % divisor < 0 ? 1 : 0)))
    }

    @Test("windows and segments are half open, also before 1970")
    func windows() {
        let minute = WindowLength.minute
        #expect(minute.window(of: WallTime(milliseconds: 0)) == 0)
        #expect(minute.window(of: WallTime(milliseconds: 59_999)) == 0)
        #expect(minute.window(of: WallTime(milliseconds: 60_000)) == 1)
        #expect(minute.window(of: WallTime(milliseconds: -1)) == -1)
        #expect(minute.start(of: -1) == WallTime(milliseconds: -60_000))
        #expect(
            Segment(createdAt: WallTime(milliseconds: 9999), length: Segment.lengthDefault).number
                == 0)
        #expect(
            Segment(createdAt: WallTime(milliseconds: 10_000), length: Segment.lengthDefault).number
                == 1)
        #expect(
            Segment(createdAt: WallTime(milliseconds: -1), length: Segment.lengthDefault).number
                == -1)
    }

    @Test("a measure is the same in whatever order and grouping its events come")
    func measures() {
        var random = RandomSource(seed: 11)
        var events: [Int64?] = (0..<200).map { _ in
            random.chance(1, in: 3) ? nil : Int64(random.below(2_000_001)) - 1_000_000
        }
        events += [.max, .max, .min]
        func fold(_ events: some Sequence<Int64?>) -> Measure {
            var sum = Measure.zero
            for event in events { sum.add(Measure(event: event)) }
            return sum
        }
        let whole = fold(events)
        let values = events.compactMap { $0 }
        #expect(whole.count == UInt64(events.count))
        #expect(whole.values?.count == UInt64(values.count))
        #expect(whole.values?.sum == values.reduce(Int128(0)) { $0 + Int128($1) })
        #expect(whole.values?.min == .min && whole.values?.max == .max)
        for _ in 0..<20 {
            random.shuffle(&events)
            let cut = random.below(events.count)
            var sum = fold(events.prefix(cut))
            sum.add(fold(events.dropFirst(cut)))
            #expect(sum == whole)
        }
        #expect(fold([nil, nil]) == Measure(count: 2))
    }

    @Test("a quorum is a majority, and two of them meet")
    func quorums() {
        #expect((1...6).map { Consistency.quorum.required(of: $0) } == [1, 2, 2, 3, 3, 4])
        for voters in 1...16 {
            #expect(2 * Consistency.quorum.required(of: voters) > voters)
            #expect(Consistency.all.required(of: voters) == voters)
            #expect(Consistency.one.required(of: voters) == 1)
        }
        for level in Consistency.allCases {
            #expect(Consistency(name: level.name.lowercased()) == level)
        }
        #expect(Consistency(name: "TWO") == nil)
    }

    @Test("reasons of dead letters have distinct names and numbers")
    func reasons() {
        let reasons = DeadLetterReason.allCases
        #expect(Set(reasons.map(\.name)).count == reasons.count)
        #expect(reasons.allSatisfy { DeadLetterReason(rawValue: $0.rawValue) == $0 })
    }

    @Test("instants and durations keep their nanoseconds")
    func time() {
        let start = Instant(nanoseconds: 5)
        #expect((start + .milliseconds(3)) - start == .milliseconds(3))
        #expect(start - .nanoseconds(5) == .zero)
        #expect(Duration.seconds(90).milliseconds == 90_000)
        #expect(Duration.nanoseconds(-7).nanoseconds == -7)
        #expect(WallTime(milliseconds: 10) - .milliseconds(30) == WallTime(milliseconds: -20))
    }
}
