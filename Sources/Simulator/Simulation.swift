import Core
package import NodeCore

/// What the command line asks for.
package struct SimulationOrder: Sendable {
    package var seed: UInt64
    package var runs: Int
    package var mutant: Mutant?
    /// Which faults do happen; a shrunk schedule is replayed so.
    package var schedule: FaultSchedule
    /// Shows each seed's draw, and the whole history of one that fails.
    package var isVerbose: Bool
    /// One JSON object per seed on standard output.
    package var printsJSON: Bool

    package init(
        seed: UInt64 = 1, runs: Int = 1, mutant: Mutant? = nil, schedule: FaultSchedule = .all,
        isVerbose: Bool = false, printsJSON: Bool = false
    ) {
        self.seed = seed
        self.runs = runs
        self.mutant = mutant
        self.schedule = schedule
        self.isVerbose = isVerbose
        self.printsJSON = printsJSON
    }
}

/// Runs seeds one after the other and says what became of them.
package enum Simulation {
    /// - Parameters:
    ///   - output: takes one line for standard output.
    ///   - progress: takes one line for standard error.
    /// - Returns: the exit code: 0 where every seed held, 1 where one failed, 2 for a wrong order.
    package static func run(
        _ order: SimulationOrder, output: (String) -> Void, progress: (String) -> Void
    ) -> Int32 {
        guard order.runs >= 1, order.runs <= SimulatorLimits.runsMax else {
            progress(
                "--runs \(order.runs): give a number from 1 to \(SimulatorLimits.runsMax)")
            return 2
        }
        var tally = SeedTally()
        for offset in 0..<order.runs {
            let run = SeedRun(
                seed: order.seed &+ UInt64(offset), mutant: order.mutant, schedule: order.schedule)
            if order.printsJSON { output(json(run, order.mutant)) }
            if order.isVerbose { progress("seed \(run.seed): \(run.swarm)") }
            tally.add(run)
            if run.violation != nil { explain(run, order, tally.failures, progress) }
            if (offset + 1) % 50 == 0 { progress("\(offset + 1) of \(order.runs) seeds") }
        }
        if !order.printsJSON {
            output(
                "\(order.runs) seeds from \(order.seed), \(tally.failures) failed; "
                    + "\(tally.events) events, \(tally.counted) batches counted, "
                    + "\(tally.simulated.milliseconds / 1000) s simulated")
            if order.isVerbose {
                for line in tally.markLines { output(line) }
            }
        }
        return tally.failures == 0 ? 0 : 1
    }

    /// The seed again with as few faults as still break it, now with its history. Only the first
    /// failures of a command are shrunk: more of them say little more.
    package static func explain(
        _ run: SeedRun, _ order: SimulationOrder, _ failures: Int, _ progress: (String) -> Void
    ) {
        var schedule = order.schedule
        if failures <= SimulatorLimits.shrunkMax, schedule == .all,
            var shrinker = Shrinker(run, mutant: order.mutant)
        {
            schedule = shrinker.shrink().schedule
        }
        let kept = order.isVerbose ? SimulatorLimits.eventsMax : SimulatorLimits.historyMax
        let again = SeedRun(
            seed: run.seed, mutant: order.mutant, schedule: schedule, keepsHistory: kept)
        for line in again.history { progress("  \(line)") }
        for act in again.acts { progress("  \(act)") }
        progress(failure(again, order.mutant, schedule))
    }

    /// What failed, and the command that shows it again.
    package static func failure(
        _ run: SeedRun, _ mutant: Mutant?, _ schedule: FaultSchedule = .all
    ) -> String {
        guard let violation = run.violation else { return "seed \(run.seed) holds" }
        let option = mutant.map { " --mutant \($0.rawValue)" } ?? ""
        return "seed \(run.seed) (\(run.swarm)): \(violation)\n"
            + "replay: scripts/simulate --seed \(run.seed)\(option)\(schedule.options) --verbose"
    }

    /// Fields in a fixed order: two processes must print the same bytes (S16).
    package static func json(_ run: SeedRun, _ mutant: Mutant?) -> String {
        var fields = [
            "\"seed\": \(run.seed)", "\"trace\": \"\(hex(run.trace.hash))\"",
            "\"events\": \(run.trace.events)", "\"counted\": \(run.counted)",
            "\"simulated_ms\": \(run.length.milliseconds)",
            "\"cluster\": \(quoted(run.swarm.description))",
        ]
        if let mutant { fields.append("\"mutant\": \(quoted(mutant.rawValue))") }
        if let violation = run.violation {
            fields.append("\"invariant\": \(quoted(violation.invariant))")
            fields.append("\"violation\": \(quoted(violation.detail))")
        }
        return "{" + fields.joined(separator: ", ") + "}"
    }

    package static func hex(_ word: UInt64) -> String {
        let text = String(word, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case let other where other.value < 0x20: result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
