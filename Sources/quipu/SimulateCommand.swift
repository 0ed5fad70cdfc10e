import ArgumentParser
import NodeCore
import Simulator

struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run the deterministic simulator.",
        discussion: """
            Whole clusters in virtual time: loss, delay, cuts, crashes, wiped disks; every \
            invariant is checked. One seed is one history, the same on every machine.

            Example: quipu simulate --seed 1 --runs 300
            """)

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "How many seeds, one after the other.")
    var runs = 1

    @Option(help: "A planted bug that must be found: \(Self.mutants).")
    var mutant: String?

    @Flag(help: "Show what each seed drew, and the history of one that fails.")
    var verbose = false

    @Flag(help: "One JSON object per seed.")
    var json = false

    private static let mutants = Mutant.allCases.map(\.rawValue).joined(separator: ", ")

    private var chosen: Mutant? { mutant.flatMap { Mutant(rawValue: $0) } }

    func validate() throws {
        if let mutant, chosen == nil {
            throw ValidationError("\(mutant) is no mutant: use one of \(Self.mutants)")
        }
    }

    func run() async throws {
        let order = SimulationOrder(
            seed: seed, runs: runs, mutant: chosen, isVerbose: verbose, printsJSON: json)
        let code = Simulation.run(order, output: { print($0) }, progress: { Output.error($0) })
        if code != 0 { throw ExitCode(code) }
    }
}
