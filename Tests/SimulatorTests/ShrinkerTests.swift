import Core
import NodeCore
import Simulator
import Testing

@Suite("The shrinker")
struct ShrinkerTests {
    @Test("finds a smaller history that breaks the same promise, and says how to replay it")
    func shrinks() throws {
        let mutant = Mutant.acknowledgeBeforeSync
        let found = (UInt64(1)...60).lazy.map { SeedRun(seed: $0, mutant: mutant) }
            .first { $0.violation != nil && $0.acts.count > 2 }
        let run = try #require(found)
        var shrinker = try #require(Shrinker(run, mutant: mutant))
        let (small, schedule) = shrinker.shrink()
        #expect(shrinker.runs <= SimulatorLimits.shrinkRunsMax)
        #expect(small.violation?.invariant == run.violation?.invariant)
        #expect(small.acts.count < run.acts.count)
        let again = SeedRun(seed: run.seed, mutant: mutant, schedule: schedule)
        #expect(again.trace == small.trace && again.violation == small.violation)
        let text = Simulation.failure(small, mutant, schedule)
        #expect(text.hasSuffix("\(schedule.options) --verbose"))
        #expect(text.contains("replay: scripts/simulate --seed \(run.seed) --mutant"))
    }

    @Test("has nothing to do with a run that holds")
    func holds() {
        #expect(Shrinker(SeedRun(seed: 1), mutant: nil) == nil)
    }
}

@Suite("The tally of a long run")
struct TallyTests {
    @Test("adds up seeds, and names the paths that were not taken often enough")
    func adds() {
        var tally = SeedTally()
        var halves = (SeedTally(), SeedTally())
        for seed in UInt64(1)...6 {
            let run = SeedRun(seed: seed)
            tally.add(run)
            if seed <= 3 { halves.0.add(run) } else { halves.1.add(run) }
        }
        halves.0.add(halves.1)
        #expect(halves.0.seeds == 6 && halves.0.marks == tally.marks)
        #expect(halves.0.events == tally.events && halves.0.simulated == tally.simulated)
        #expect(tally.missing(atLeast: 1).allSatisfy { tally.marks[$0] == nil })
        #expect(tally.missing(atLeast: 1_000_000) == CoverageMark.allCases.sorted())
        #expect(tally.ratio(.milliseconds(tally.simulated.milliseconds / 500)) >= 500)
        #expect(tally.json(.seconds(1)).hasPrefix("{\"seeds\": 6, \"failed\": 0"))
    }

    @Test("keeps the failures of a planted bug, and a hunt names their seeds")
    func hunts() {
        let hunt = MutantHunt(.skipDedupe, runs: 40)
        #expect(hunt.seeds.count == MutantHunt.findsMax)
        #expect(hunt.recordedLine.hasPrefix("        .skipDedupe: ["))
        #expect(!hunt.invariants.isEmpty)
        var tally = SeedTally()
        for seed in hunt.seeds { tally.add(SeedRun(seed: seed, mutant: .skipDedupe)) }
        #expect(tally.failures == hunt.seeds.count)
        #expect(tally.failed.map(\.seed) == hunt.seeds)
    }
}
