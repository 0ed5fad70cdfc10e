import Core
import Foundation
import NodeCore
import Simulator
import Testing

/// Seeds by the ten, so that they spread over the processors.
@Suite("Simulated clusters")
struct SeedTests {
    static let fixedSeeds: UInt64 = 500
    static let freshSeeds: UInt64 = 1500
    static let chunk: UInt64 = 10

    @Test("keep every promise on 500 fixed seeds", arguments: 0..<fixedSeeds / chunk)
    func fixed(part: UInt64) {
        for seed in part * Self.chunk + 1...(part + 1) * Self.chunk { check(seed) }
    }

    /// `QUIPU_SEED_BASE` is any text; `scripts/test` gives the commit's id. Without it there are
    /// no fresh seeds.
    static let base = ProcessInfo.processInfo.environment["QUIPU_SEED_BASE"]

    @Test(
        "keep every promise on 1500 seeds that no one has seen", .enabled(if: base != nil),
        arguments: 0..<freshSeeds / chunk)
    func fresh(part: UInt64) {
        let hash = SipHash.hash(Array((Self.base ?? "").utf8), key: SipKey(low: 3, high: 4))
        let first = UInt64(truncatingIfNeeded: hash) >> 16 + part * Self.chunk
        if part == 0 { print("fresh seeds from \(first), base \(Self.base ?? "")") }
        for seed in first..<first + Self.chunk { check(seed) }
    }

    /// A seed that fails says which of its faults it needs.
    private func check(_ seed: UInt64) {
        let run = SeedRun(seed: seed)
        guard run.violation != nil, var shrinker = Shrinker(run, mutant: nil) else { return }
        let (small, schedule) = shrinker.shrink()
        Issue.record("\(Simulation.failure(small, nil, schedule))")
    }

    @Test("keep every promise that they broke once", arguments: Regression.all)
    func regressions(_ regression: Regression) {
        var schedule = regression.schedule
        // What rotted then rots still.
        schedule.without.insert(.unreadable)
        let run = SeedRun(seed: regression.seed, schedule: schedule)
        #expect(run.violation == nil, "\(Simulation.failure(run, nil, schedule))")
    }

    @Test("reach every rare path somewhere in 150 seeds")
    func coverage() {
        var tally = SeedTally()
        for seed in UInt64(1)...150 { tally.add(SeedRun(seed: seed)) }
        #expect(tally.seeds == 150 && tally.failures == 0)
        for mark in tally.missing(atLeast: 1) {
            Issue.record("\(mark.rawValue) was never reached")
        }
    }
}
