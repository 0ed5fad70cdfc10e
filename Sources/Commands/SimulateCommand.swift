import ArgumentParser
import NodeCore
import Ring
import Simulator

struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run the deterministic simulator.",
        discussion: """
            Whole clusters in virtual time: loss, delay, cuts, crashes, wiped disks; every \
            invariant is checked. One seed is one history, the same on every machine.

            Examples:
              quipu simulate --seed 1 --runs 300
              quipu simulate --hours 0.5           fresh seeds, on all processors
              quipu simulate --hunt --runs 500     which seeds find each planted bug
            """)

    @Option(help: "The first seed; with --hours drawn by chance where none is given.")
    var seed: UInt64?

    @Option(help: "How many seeds, one after the other; with --hunt: per mutant, at most.")
    var runs = 1

    @Option(help: "A planted bug that must be found: \(Self.mutants).")
    var mutant: String?

    @Option(help: "Only these acts of the nemesis happen: numbers with commas between, or none.")
    var keep: String?

    @Option(help: "These classes of faults do not happen: names with commas between.")
    var without: String?

    @Option(help: "Where cells lie, key or key+day, whatever the seed draws.")
    var placement: String?

    @Option(help: "Run fresh seeds for so long, a fraction allowed, and demand every rare path.")
    var hours: Double?

    @Option(help: "With --hours: how often each rare path must have been taken.")
    var marks = 100

    @Option(help: "With --hours and --hunt: seeds at a time. 0: as many as there are processors.")
    var workers = 0

    @Flag(help: "Print the first seeds that find each planted bug, as the tests record them.")
    var hunt = false

    @Flag(help: "Show what each seed drew, and the history of one that fails.")
    var verbose = false

    @Flag(help: "One JSON object per seed; with --hours one for the whole.")
    var json = false

    private static let mutants = Mutant.allCases.map(\.rawValue).joined(separator: ", ")

    private var chosen: Mutant? { mutant.flatMap { Mutant(rawValue: $0) } }

    func validate() throws {
        if let mutant, chosen == nil {
            throw ValidationError("\(mutant) is no mutant: use one of \(Self.mutants)")
        }
        if let hours, !(hours > 0 && hours <= SimulateSoak.hoursMax) {
            throw ValidationError("--hours: more than 0, at most \(Int(SimulateSoak.hoursMax))")
        }
        if hunt, hours != nil { throw ValidationError("--hunt and --hours exclude each other") }
        guard (0...256).contains(workers) else {
            throw ValidationError("--workers \(workers): from 0 to 256")
        }
        _ = try schedule()
    }

    private func schedule() throws -> FaultSchedule {
        var schedule = FaultSchedule.all
        for name in without?.split(separator: ",") ?? [] {
            guard let fault = FaultClass(rawValue: String(name)) else {
                let all = FaultClass.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("--without \(name): use some of \(all)")
            }
            schedule.without.insert(fault)
        }
        if let placement {
            guard let rule = KeyPlacement.Rule(rawValue: placement) else {
                throw ValidationError("--placement \(placement): use key or key+day")
            }
            schedule.placement = rule
        }
        guard let keep else { return schedule }
        schedule.keep = []
        for text in keep == "none" ? [] : keep.split(separator: ",") {
            guard let number = Int(text), number >= 0 else {
                throw ValidationError("--keep \(text): numbers of acts with commas between")
            }
            schedule.keep?.insert(number)
        }
        return schedule
    }

    func run() async throws {
        let code: Int32
        if let hours {
            code = await SimulateSoak(
                seed: seed, hours: hours, marksMin: marks, workers: workers, printsJSON: json
            ).run()
        } else if hunt {
            code = await SimulateHunt(
                mutants: chosen.map { [$0] } ?? Mutant.allCases, first: seed ?? 1, runs: runs,
                workers: workers
            ).run()
        } else {
            let order = SimulationOrder(
                seed: seed ?? 1, runs: runs, mutant: chosen, schedule: try schedule(),
                isVerbose: verbose, printsJSON: json)
            let clock = ContinuousClock()
            let began = clock.now
            code = Simulation.run(order, output: { print($0) }, progress: { Output.error($0) })
            if code == 0, runs > 1 { Output.error("in \(clock.now - began)") }
        }
        if code != 0 { throw ExitCode(code) }
    }
}
