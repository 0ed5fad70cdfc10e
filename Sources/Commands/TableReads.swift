import Core
import Foundation
import Node
import Storage
import Wire

/// Reads of one table as a node's file threads do them: the best of several scans, since other work
/// on the machine only adds to them, and of reads of one key the middle one.
struct TableReads {
    let table: TableHandle
    /// The tables that were merged into it.
    let parts: [TableHandle]
    let runner: StorageRunner
    /// Of the file, which the cold reads ask the system to forget.
    let path: String

    private static let rounds = 10
    private static let lookUps = 1000
    private static let partitions = PartitionSet(
        (0..<MeasureTablesCommand.partitions).map { PartitionID($0) })

    /// Members of a JSON object.
    func measure() throws -> String {
        let seconds = try best {
            try scanned(ScanAggregate(ScanSpec(partitions: Self.partitions, output: .types)))
                .count > 0
        }
        let spec = ScanSpec(partitions: Self.partitions, output: .totalsByKey)
        let all = try top(10, spec)
        let many = try top(100, spec)
        let most = try top(1000, spec)
        let unmerged = try top(10, spec, of: parts)
        var ofType = spec
        ofType.type = MeasureTablesCommand.types[0]
        let one = try top(10, ofType)
        let warm = try point(isCold: false)
        let cold = try point(isCold: true)
        let cellsPerSecond = Double(table.meta.cells) / max(seconds, 1e-9)
        return """
            "scan_cells_per_second": \(Quantity.fixed(cellsPerSecond, digits: 0)), \
            "top10_ms": \(Quantity.fixed(all * 1e3, digits: 1)), \
            "top10_of_one_type_ms": \(Quantity.fixed(one * 1e3, digits: 1)), \
            "top10_before_compaction_ms": \(Quantity.fixed(unmerged * 1e3, digits: 1)), \
            "top100_ms": \(Quantity.fixed(many * 1e3, digits: 1)), \
            "top1000_ms": \(Quantity.fixed(most * 1e3, digits: 1)), \
            "point_warm_us": \(Quantity.fixed(warm * 1e6, digits: 0)), \
            "point_cold_us": \(Quantity.fixed(cold * 1e6, digits: 0))
            """
    }

    private func top(
        _ count: Int, _ spec: ScanSpec, of tables: [TableHandle]? = nil
    ) throws -> Double {
        try best {
            let aggregate = ScanAggregate(spec, keeping: .init(count, by: .count))
            return try scanned(aggregate, tables).top(count, by: .count).count == count
        }
    }

    private func scanned(
        _ base: ScanAggregate, _ tables: [TableHandle]? = nil
    ) throws -> ScanAggregate {
        let job = StorageJob.scan(TableSnapshot(tables: tables ?? [table]), base: base)
        guard case .scanned(let aggregate) = try runner.run(job).get() else {
            throw CommandFailure("the scan had no answer")
        }
        return aggregate
    }

    /// Seconds of the processor.
    private func best(_ body: () throws -> Bool) throws -> Double {
        var best = Double.infinity
        for _ in 0..<Self.rounds {
            let began = MeasureTablesCommand.processorSeconds
            guard try body() else { throw CommandFailure("the scan found nothing") }
            best = min(best, MeasureTablesCommand.processorSeconds - began)
        }
        return best
    }

    /// Seconds of one hour of minutes of one key, by the clock: the middle of many keys.
    private func point(isCold: Bool) throws -> Double {
        var random = RandomSource(seed: 2)
        let zipf = ZipfTable(count: MeasureTablesCommand.keys, skew: 1)
        let start = MeasureTablesCommand.start
        var times: [Double] = []
        for _ in 0..<(isCold ? Self.lookUps / 10 : Self.lookUps) {
            let number = zipf.draw(&random)
            let query = SeriesQuery(
                partition: PartitionID(number % MeasureTablesCommand.partitions),
                key: MeasureTablesCommand.key(number), type: MeasureTablesCommand.types[0],
                from: start, to: start + Int64(MeasureTablesCommand.minutes))
            if isCold { try forget() }
            let began = Self.clock
            let job = StorageJob.series(query, TableSnapshot(tables: [table]), base: [])
            guard case .rows = try runner.run(job).get() else {
                throw CommandFailure("the read had no answer")
            }
            times.append(Self.clock - began)
        }
        return times.sorted()[times.count / 2]
    }

    /// The file's pages leave the system's cache; they are on the disk.
    private func forget() throws {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { throw CommandFailure("\(path) does not open") }
        defer { close(descriptor) }
        guard posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0 else {
            throw CommandFailure("\(path) stays in memory")
        }
    }

    private static var clock: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
