/// A seeded generator (SplitMix64, Steele et al. 2014) that is forked per component, so that a draw
/// added in one place does not shift the draws of all others.
package struct RandomSource: Sendable, RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// An independent generator.
    package mutating func fork() -> RandomSource {
        RandomSource(seed: next())
    }

    /// A number in `0 ..< bound`. The bias of the multiplication is below `bound / 2^64`.
    package mutating func below(_ bound: Int) -> Int {
        precondition(bound > 0, "nothing lies below \(bound)")
        return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// True with probability `numerator / denominator`.
    package mutating func chance(_ numerator: Int, in denominator: Int) -> Bool {
        below(denominator) < numerator
    }

    /// A duration in `0 ..< bound`, to the nanosecond: full jitter.
    package mutating func duration(below bound: Duration) -> Duration {
        .nanoseconds(Int64(below(max(1, Int(bound.nanoseconds)))))
    }

    package mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[below(elements.count)]
    }

    /// A Fisher-Yates shuffle.
    package mutating func shuffle<Element>(_ elements: inout [Element]) {
        var last = elements.count - 1
        while last > 0 {
            elements.swapAt(last, below(last + 1))
            last -= 1
        }
    }
}
