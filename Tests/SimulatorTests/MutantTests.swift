import NodeCore
import Simulator
import Testing

/// A simulator is trusted only after it found bugs that were planted.
@Suite("Planted bugs")
struct MutantTests {
    /// Seeds on which each was found; the first ones of 1, 2, 3, …
    static let recorded: [Mutant: [UInt64]] = [:]

    @Test("are found on their recorded seeds", arguments: Mutant.allCases)
    func found(mutant: Mutant) {
        let seeds = Self.recorded[mutant] ?? []
        #expect(!seeds.isEmpty)
        for seed in seeds {
            let run = SeedRun(seed: seed, mutant: mutant)
            #expect(run.violation != nil, "seed \(seed) no longer finds \(mutant.rawValue)")
        }
    }

    @Test("are found by a hunt of at most 100 seeds", arguments: Mutant.allCases)
    func hunted(mutant: Mutant) {
        let finder = (UInt64(1)...100).first { SeedRun(seed: $0, mutant: mutant).violation != nil }
        #expect(finder != nil, "\(mutant.rawValue) survives a hundred seeds")
    }

    @Test("make the command fail with a seed, an invariant and a replay line")
    func canary() throws {
        let seed = try #require(Self.recorded[.skipDedupe]?.first)
        var lines: [String] = []
        var progress: [String] = []
        let code = Simulation.run(
            SimulationOrder(seed: seed, mutant: .skipDedupe), print: { lines.append($0) },
            progress: { progress.append($0) })
        #expect(code == 1)
        #expect(lines == lines.filter { $0.contains("1 failed") })
        let last = try #require(progress.last)
        #expect(last.contains("seed \(seed) "))
        #expect(
            last.hasSuffix("replay: scripts/simulate --seed \(seed) --mutant skip-dedupe --verbose"))
        #expect(progress.count > 10)
    }
}
