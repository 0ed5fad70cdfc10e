import Core

/// What many seeds came to.
package struct SeedTally: Sendable {
    package private(set) var seeds = 0
    package private(set) var events = 0
    package private(set) var counted = 0
    package private(set) var simulated: Duration = .zero
    package private(set) var marks: [CoverageMark: Int] = [:]
    /// The first runs that failed, in the order in which they were added.
    package private(set) var failed: [SeedRun] = []
    package private(set) var failures = 0

    /// Failed runs that are kept to be explained.
    package static let failedMax = 10

    package init() {}

    package mutating func add(_ run: SeedRun) {
        seeds += 1
        events += run.trace.events
        counted += run.counted
        simulated += run.length
        for (mark, count) in run.marks { marks[mark, default: 0] += count }
        guard run.violation != nil else { return }
        failures += 1
        if failed.count < Self.failedMax { failed.append(run) }
    }

    package mutating func add(_ other: SeedTally) {
        seeds += other.seeds
        events += other.events
        counted += other.counted
        simulated += other.simulated
        for (mark, count) in other.marks { marks[mark, default: 0] += count }
        failures += other.failures
        failed += other.failed.prefix(Self.failedMax - failed.count)
    }

    /// Marks that were reached fewer times than that, ascending.
    package func missing(atLeast least: Int) -> [CoverageMark] {
        CoverageMark.allCases.filter { marks[$0, default: 0] < least }.sorted()
    }

    /// How much faster than real time, over all workers.
    package func ratio(_ real: Duration) -> Int {
        Int(simulated.nanoseconds / max(1, real.nanoseconds))
    }

    /// One line of progress.
    package func line(_ real: Duration) -> String {
        let hours = simulated.milliseconds / 36_000
        let fraction = hours % 100 < 10 ? "0\(hours % 100)" : "\(hours % 100)"
        return "\(seeds) seeds, \(failures) failed, \(hours / 100).\(fraction) h simulated, "
            + "\(ratio(real))x real time, "
            + "\(CoverageMark.allCases.count - missing(atLeast: 1).count) of "
            + "\(CoverageMark.allCases.count) marks"
    }

    package var markLines: [String] {
        CoverageMark.allCases.sorted().map { "  \($0.rawValue): \(marks[$0, default: 0])" }
    }

    package func json(_ real: Duration) -> String {
        let reached = CoverageMark.allCases.sorted()
            .map { "\"\($0.rawValue)\": \(marks[$0, default: 0])" }.joined(separator: ", ")
        return "{\"seeds\": \(seeds), \"failed\": \(failures), \"events\": \(events), "
            + "\"counted\": \(counted), \"simulated_ms\": \(simulated.milliseconds), "
            + "\"real_ms\": \(real.milliseconds), \"ratio\": \(ratio(real)), "
            + "\"marks\": {\(reached)}}"
    }
}
