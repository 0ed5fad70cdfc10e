import Core
package import NodeCore

/// Which seeds find a planted bug, and by which invariant.
package struct MutantHunt: Sendable {
    package let mutant: Mutant
    package private(set) var seeds: [UInt64] = []
    package private(set) var invariants: Set<String> = []
    /// Seeds that were run.
    package private(set) var runs = 0

    /// Seeds that are recorded.
    package static let findsMax = 4

    /// Runs seeds from `first` on, until enough of them found it.
    package init(_ mutant: Mutant, from first: UInt64 = 1, runs: Int) {
        self.mutant = mutant
        for offset in 0..<runs where seeds.count < Self.findsMax {
            self.runs += 1
            let run = SeedRun(seed: first &+ UInt64(offset), mutant: mutant)
            guard let violation = run.violation else { continue }
            seeds.append(run.seed)
            invariants.insert(violation.invariant)
        }
    }

    /// As lines of the tests' two tables.
    package var recordedLine: String { "        .\(mutant): \(seeds)," }
    package var brokenLine: String { "        .\(mutant): \(invariants.sorted())," }
}
