import Core
import Testing

@Suite struct RandomSourceTests {
    @Test("the numbers are SplitMix64's")
    func reference() {
        var random = RandomSource(seed: 1_234_567)
        let numbers = (0..<5).map { _ in random.next() }
        #expect(
            numbers == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
    }

    @Test("a seed gives one sequence, and draws of a fork do not shift its parent's")
    func forks() {
        var first = RandomSource(seed: 3)
        var second = RandomSource(seed: 3)
        var child = first.fork()
        _ = second.fork()
        for _ in 0..<10 { _ = child.next() }
        #expect((0..<10).map { _ in first.next() } == (0..<10).map { _ in second.next() })
        var another = RandomSource(seed: 4)
        #expect(first.next() != another.next())
    }

    @Test("draws stay within their bounds and reach them")
    func bounds() {
        var random = RandomSource(seed: 8)
        for bound in [1, 2, 3, 10] {
            let drawn = Set((0..<500).map { _ in random.below(bound) })
            #expect(drawn == Set(0..<bound))
        }
        let hits = (0..<3000).count { _ in random.chance(1, in: 3) }
        #expect((900...1100).contains(hits))
        for _ in 0..<200 {
            let pause = random.duration(below: .milliseconds(5))
            #expect(pause >= .zero && pause < .milliseconds(5))
        }
        #expect(random.duration(below: .zero) == .zero)
    }

    @Test("a shuffle keeps the elements, and each of them reaches each place")
    func shuffles() {
        var random = RandomSource(seed: 13)
        var seen = [Set<Int>](repeating: [], count: 6)
        for _ in 0..<300 {
            var elements = Array(0..<6)
            random.shuffle(&elements)
            #expect(elements.sorted() == Array(0..<6))
            for (place, element) in elements.enumerated() { seen[place].insert(element) }
        }
        #expect(seen.allSatisfy { $0.count == 6 })
        var none: [Int] = []
        random.shuffle(&none)
        #expect(none.isEmpty)
    }
}
