import Core
package import NodeCore
internal import Ring

/// Finds a smaller history that breaks the same promise: classes of faults and acts of the nemesis
/// are left out as long as the same invariant fails (delta debugging, Zeller and Hildebrandt 2002).
/// The seed stays, so what is kept happens as it did.
package struct Shrinker {
    private let seed: UInt64
    private let mutant: Mutant?
    private let invariant: String
    /// Runs that it took so far.
    package private(set) var runs = 0
    private var best: SeedRun
    private var schedule: FaultSchedule

    /// - Returns: nil for a run that failed nothing.
    package init?(_ run: SeedRun, mutant: Mutant?, schedule: FaultSchedule = .all) {
        guard let violation = run.violation else { return nil }
        seed = run.seed
        self.mutant = mutant
        invariant = violation.invariant
        best = run
        self.schedule = schedule
    }

    /// The smallest schedule that was found.
    package mutating func shrink() -> (run: SeedRun, schedule: FaultSchedule) {
        // Planted bugs meet neither.
        let readings: [FaultClass] = mutant == nil ? [.misreads, .unreadable] : []
        for fault in best.swarm.faults + readings where !schedule.without.contains(fault) {
            var smaller = schedule
            smaller.without.insert(fault)
            attempt(smaller)
        }
        if best.swarm.placement != .key {
            var simpler = schedule
            simpler.placement = .key
            attempt(simpler)
        }
        shrinkActs()
        return (best, schedule)
    }

    private mutating func shrinkActs() {
        var kept = best.acts.map(\.number)
        attempt(keeping(kept))
        var parts = 2
        while !kept.isEmpty, runs < SimulatorLimits.shrinkRunsMax {
            let size = max(1, (kept.count + parts - 1) / parts)
            var isSmaller = false
            for start in stride(from: 0, to: kept.count, by: size) {
                var rest = kept
                rest.removeSubrange(start..<min(start + size, kept.count))
                guard attempt(keeping(rest)) else { continue }
                // Acts that did not come to pass in the shorter history need not be named.
                let happened = Set(best.acts.map(\.number))
                kept = rest.filter { happened.contains($0) }
                schedule.keep = Set(kept)
                isSmaller = true
                break
            }
            if isSmaller {
                parts = max(2, parts - 1)
            } else if size == 1 {
                return
            } else {
                parts = min(kept.count, 2 * parts)
            }
        }
    }

    private func keeping(_ acts: [Int]) -> FaultSchedule {
        var smaller = schedule
        smaller.keep = Set(acts)
        return smaller
    }

    /// Takes a schedule over where the same invariant fails under it.
    @discardableResult
    private mutating func attempt(_ smaller: FaultSchedule) -> Bool {
        guard runs < SimulatorLimits.shrinkRunsMax else { return false }
        runs += 1
        let run = SeedRun(seed: seed, mutant: mutant, schedule: smaller)
        guard run.violation?.invariant == invariant else { return false }
        best = run
        schedule = smaller
        return true
    }
}
