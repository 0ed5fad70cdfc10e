import ArgumentParser
import Client
import Core
import Foundation
import Ingest
import Node

/// For `scripts/bench` and for who changes a parser: what folding a batch costs, without a node
/// around it.
struct MeasureFoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure-fold",
        abstract: "Measure how fast batches are read, ordinary ones and hostile ones.",
        discussion: """
            Seconds are the processor's, of one thread, the best of --runs. The peak of memory is \
            that of this process, the bytes of the batch among it: name one input with --only for \
            a figure that owes nothing to the others.

            Example: quipu measure-fold --only ndjson
            """,
        shouldDisplay: false)

    @Option(help: "Mebibytes of each batch.")
    var size = 16

    @Option(help: "The name of one input.")
    var only: String?

    @Option(help: "How often each is folded.")
    var runs = 3

    @Flag(help: "Exit 1 where one takes more than a second or 256 MiB.")
    var strict = false

    @Flag(help: "Print the names of the inputs, one a line.")
    var list = false

    func validate() throws {
        guard !strict || size <= FoldCost.size >> 20 else {
            throw ValidationError("--strict is of at most \(FoldCost.size >> 20) MiB: see --size")
        }
        guard (1...64).contains(size), (1...1000).contains(runs) else {
            throw ValidationError("--size is 1 to 64, --runs 1 to 1000")
        }
        if let only, !FoldInput.names.contains(only) {
            let names = FoldInput.names.joined(separator: ", ")
            throw ValidationError("--only \(only): give one of \(names)")
        }
    }

    func run() throws {
        if list {
            for name in FoldInput.names { print(name) }
            return
        }
        // As a node does.
        ProcessMemory.keepFreedBuffers()
        var table = TextTable([
            ("Input", .left), ("MiB", .right), ("Events", .right), ("Dead", .right),
            ("CPU s", .right), ("Events/s", .right), ("MiB/s", .right), ("Peak MiB", .right),
        ])
        var dear: [String] = []
        for name in only.map({ [$0] }) ?? FoldInput.names {
            guard let input = FoldInput.named(name, size: size << 20) else {
                throw CommandFailure("measure-fold: there is no input \(name)")
            }
            let (row, cost) = try measure(input)
            table.add(row)
            if let excess = cost.excess { dear.append("\(name): \(excess)") }
        }
        for line in table.lines() { print(line) }
        guard strict, !dear.isEmpty else { return }
        throw CommandFailure("measure-fold: too dear: \(dear.joined(separator: "; "))")
    }

    private func measure(_ input: FoldInput) throws -> (row: [String], cost: FoldCost) {
        var folder = BatchFolder(seed: 1)
        var best = Double.infinity
        var totals = BatchTotals(events: 0, counted: 0, dead: 0)
        var isRefused = false
        try forgetPeak()
        for _ in 0..<runs {
            let start = processorTime()
            if let folded = totalsOf(input, &folder) {
                totals = folded
            } else {
                isRefused = true
            }
            best = min(best, processorTime() - start)
        }
        let mebibytes = Double(input.bytes.count) / 1_048_576
        let cost = FoldCost(seconds: best, peakMebibytes: try peak())
        let row = [
            input.name, Quantity.fixed(mebibytes, digits: 1),
            isRefused ? "refused" : Quantity.grouped(Int(totals.events)),
            isRefused ? "" : Quantity.grouped(Int(totals.dead)), Quantity.fixed(best, digits: 3),
            isRefused ? "" : Quantity.grouped(Int(Double(totals.events) / best)),
            Quantity.fixed(mebibytes / best, digits: 0), cost.peakMebibytes.map { "\($0)" } ?? "",
        ]
        return (row, cost)
    }

    /// nil where the batch is refused.
    private func totalsOf(_ input: FoldInput, _ folder: inout BatchFolder) -> BatchTotals? {
        let text: [UInt8]
        do throws(BodyInflater.Failure) {
            text = try input.text(max: Limits.bodyDecodedMax)
        } catch {
            return nil
        }
        do throws(IngestError) {
            return try fold(text, input.parameters, &folder).totals
        } catch {
            return nil
        }
    }

    private func fold(
        _ text: [UInt8], _ parameters: ParseParameters, _ folder: inout BatchFolder
    ) throws(IngestError) -> FoldedBatch {
        try text.withUnsafeBytes { bytes in
            Result { () throws(IngestError) in
                try folder.fold(
                    bytes, parameters: parameters,
                    createdAt: WallTime(milliseconds: 253_402_300_799_999), rules: FoldRules(),
                    partitioner: CellPartitioner { key, _ in
                        PartitionID(key.reduce(0) { $0 &* 31 &+ Int($1) } & 255)
                    })
            }
        }.get()
    }

    /// Of this thread, in seconds: what else the machine does adds less to it than to a clock.
    private func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    // MARK: - Memory

    /// Linux counts the peak from here on.
    private func forgetPeak() throws {
        #if os(Linux)
            try Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
        #endif
    }

    /// In MiB; nil where nobody says.
    private func peak() throws -> Int? {
        #if os(Linux)
            let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
            return line.flatMap { Int($0.filter(\.isNumber)) }.map { $0 / 1024 }
        #else
            return nil
        #endif
    }
}
