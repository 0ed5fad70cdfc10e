import Foundation
import NodeCore
import Simulator

/// Fresh seeds for hours, on all processors: each seed runs in one thread, seeds run side by side.
struct SimulateSoak {
    var seed: UInt64?
    var hours: Double
    /// How often each rare path must have been taken.
    var marksMin: Int
    var workers: Int
    var printsJSON: Bool

    static let hoursMax = 10_000.0
    /// Seeds of one task.
    private static let chunk: UInt64 = 10
    private static let progressEvery: Duration = .seconds(30)

    static func workers(_ asked: Int) -> Int {
        asked > 0 ? asked : ProcessInfo.processInfo.activeProcessorCount
    }

    func run() async -> Int32 {
        // Not beyond 2^53, so that a seed survives being read as a JSON number.
        let first = seed ?? UInt64.random(in: 1...(1 << 53))
        let clock = ContinuousClock()
        let began = clock.now
        let end = began + .seconds(hours * 3600)
        Output.error("seeds from \(first), \(Self.workers(workers)) at a time")
        let tally = await withTaskGroup(of: SeedTally.self) { group in
            var tally = SeedTally()
            var next = first
            var shown = began
            func begin() {
                let start = next
                next &+= Self.chunk
                group.addTask { Self.tally(from: start) }
            }
            for _ in 0..<Self.workers(workers) { begin() }
            while let part = await group.next() {
                tally.add(part)
                // Shrinking comes in the end; whoever watches hears of a failure at once.
                for run in part.failed { Output.error(Simulation.failure(run, nil)) }
                if clock.now < end { begin() }
                guard clock.now >= shown + Self.progressEvery else { continue }
                shown = clock.now
                Output.error(tally.line(clock.now - began))
            }
            return tally
        }
        return conclude(tally, clock.now - began)
    }

    private static func tally(from start: UInt64) -> SeedTally {
        var tally = SeedTally()
        for offset in 0..<chunk { tally.add(SeedRun(seed: start &+ offset)) }
        return tally
    }

    private func conclude(_ tally: SeedTally, _ real: Duration) -> Int32 {
        for (place, run) in tally.failed.enumerated() {
            Simulation.explain(run, SimulationOrder(), place + 1, { Output.error($0) })
        }
        let missing = tally.missing(atLeast: marksMin)
        for mark in missing {
            Output.error(
                "\(mark.rawValue) was reached \(tally.marks[mark, default: 0]) times, "
                    + "\(marksMin) are demanded: run longer, or look why")
        }
        if printsJSON {
            print(tally.json(real))
        } else {
            print(tally.line(real))
            for line in tally.markLines { print(line) }
        }
        return tally.failures == 0 && missing.isEmpty ? 0 : 1
    }
}

/// Hunts planted bugs, several at a time, and prints the tables of `MutantTests`.
struct SimulateHunt {
    var mutants: [Mutant]
    var first: UInt64
    var runs: Int
    var workers: Int

    func run() async -> Int32 {
        let hunts = await withTaskGroup(of: MutantHunt.self) { group in
            var hunts: [MutantHunt] = []
            var waiting = mutants[...]
            func begin() {
                guard let mutant = waiting.popFirst() else { return }
                group.addTask { MutantHunt(mutant, from: first, runs: runs) }
            }
            for _ in 0..<SimulateSoak.workers(workers) { begin() }
            while let hunt = await group.next() {
                begin()
                hunts.append(hunt)
                Output.error(
                    "\(hunt.mutant.rawValue): \(hunt.seeds.count) finds in \(hunt.runs) seeds")
            }
            return hunts
        }
        let sorted = mutants.compactMap { mutant in hunts.first { $0.mutant == mutant } }
        print("    static let recorded: [Mutant: [UInt64]] = [")
        for hunt in sorted { print(hunt.recordedLine) }
        print("    ]\n\n    static let broken: [Mutant: Set<String>] = [")
        for hunt in sorted { print(hunt.brokenLine) }
        print("    ]")
        return hunts.allSatisfy { !$0.seeds.isEmpty } ? 0 : 1
    }
}
