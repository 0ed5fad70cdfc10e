import ArgumentParser
import Core
import Foundation
import Node
import Storage
import Wire

/// For `scripts/bench`: what a flush, a compaction and reads of a table cost, without a node around
/// them.
struct MeasureTablesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure-tables",
        abstract: "Measure flush, compaction and reads in a directory that is empty.",
        discussion: """
            Events of one hour, 3 types and keys of 11 characters by Zipf's law, until there are \
            so many cells: once in one table, and once in several that are merged. Bytes of \
            uncompressed cells are those of key, type, window and count.

            Example: quipu measure-tables /tmp/empty
            """,
        shouldDisplay: false)

    @Argument(help: "Where the files are written.")
    var directory: String

    @Option(help: "Distinct cells.")
    var cells = 1_650_000

    @Option(help: "Tables that are merged.")
    var flushes = 4

    static let keys = 100_000
    static let types = ["view", "like", "share"].map { Array($0.utf8) }
    static let minutes = 60
    static let partitions = 256
    /// 2026-01-01T00:00Z.
    static let start: Int64 = 29_453_760
    private static let digestKey = SipKey(low: 1, high: 2)

    func validate() throws {
        guard (1...10_000_000).contains(cells), (2...32).contains(flushes) else {
            throw ValidationError("--cells is 1 to 10000000, --flushes 2 to 32")
        }
    }

    mutating func run() throws {
        let files = try DirectoryFileSystem.creating(root: directory)
        let options = StorageOptions(digestKey: Self.digestKey)
        _ = try Recovery.open(files, options: options) { _, _ in }
        let runner = StorageRunner(fileSystem: files, options: options)
        let parts = counts()
        var whole = parts[0]
        for part in parts.dropFirst() {
            for place in whole.indices { whole[place] += part[place] }
        }
        let one = try flush(whole, 1, runner)
        var tables: [TableHandle] = []
        for (number, part) in parts.enumerated() {
            tables.append(try flush(part, UInt64(number) + 2, runner).table)
        }
        let compaction = TableCompaction(tables, id: UInt64(flushes) + 2)
        let began = Self.processorSeconds
        var merged: TableHandle?
        while merged == nil {
            let step = try runner.run(.compact(compaction, bytes: 512 << 10)).get()
            if case .compacting(_, let table) = step { merged = table }
        }
        let seconds = Self.processorSeconds - began
        let taken = tables.reduce(0) { $0 + $1.meta.cells }
        let bytes = tables.reduce(0) { $0 + Self.rawBytes(of: $1) }
        guard let merged, merged.meta.total == one.table.meta.total else {
            throw CommandFailure("the merged table holds another sum than the whole one")
        }
        let reads = TableReads(
            table: merged, parts: tables, runner: runner, path: directory + "/" + merged.path)
        let figures = try reads.measure()
        print(
            """
            {"cells": \(one.table.meta.cells), "table_bytes": \(one.table.meta.size), \
            "merged_bytes": \(merged.meta.size), \
            "bytes_per_cell": \(Self.ratio(merged.meta.size, merged.meta.cells)), \
            "flush_seconds": \(Quantity.fixed(one.seconds, digits: 3)), \
            "flush_mb_per_second": \(Self.rate(Self.rawBytes(of: one.table), one.seconds)), \
            "compacted_cells": \(taken), \
            "compaction_seconds": \(Quantity.fixed(seconds, digits: 3)), \
            "compaction_mb_per_second": \(Self.rate(bytes, seconds)), \
            \(figures)}
            """)
    }

    /// Events by cell, dealt out over the flushes by the thousand.
    private func counts() -> [[UInt32]] {
        let places = Self.keys * Self.types.count * Self.minutes
        var parts = Array(repeating: [UInt32](repeating: 0, count: places), count: flushes)
        var isThere = [Bool](repeating: false, count: places)
        var random = RandomSource(seed: 1)
        let zipf = ZipfTable(count: Self.keys, skew: 1)
        var distinct = 0
        var events = 0
        while distinct < min(cells, places / 2) {
            let series = zipf.draw(&random) * Self.types.count + random.below(Self.types.count)
            let place = series * Self.minutes + random.below(Self.minutes)
            if !isThere[place] { distinct += 1 }
            isThere[place] = true
            parts[events / 1000 % flushes][place] += 1
            events += 1
        }
        return parts
    }

    private func flush(
        _ counts: [UInt32], _ id: UInt64, _ runner: StorageRunner
    ) throws -> (table: TableHandle, seconds: Double) {
        var memtable = Memtable(
            partitions: Self.partitions, digestKey: Self.digestKey, window: .minute,
            bytesMax: StorageLimits.memtableBytesDefault)
        for key in 0..<Self.keys { try Self.add(key, counts, to: &memtable) }
        let frozen = memtable.freeze(through: LSN(1))
        let began = Self.processorSeconds
        guard case .tables(let tables) = try runner.run(.writeTables(frozen, firstID: id)).get(),
            let table = tables.first, tables.count == 1
        else { throw CommandFailure("the flush made no table") }
        return (table, Self.processorSeconds - began)
    }

    static func key(_ number: Int) -> [UInt8] {
        let digits = String(number)
        return Array(("k" + String(repeating: "0", count: 10 - digits.count) + digits).utf8)
    }

    private static func add(
        _ number: Int, _ counts: [UInt32], to memtable: inout Memtable
    ) throws {
        let key = Self.key(number)
        var writer = SliceWriter()
        var hasCells = false
        for (place, type) in types.enumerated() {
            let first = (number * types.count + place) * minutes
            let held = (0..<minutes).filter { counts[first + $0] > 0 }
            guard !held.isEmpty else { continue }
            hasCells = true
            key.withUnsafeBytes { key in
                type.withUnsafeBytes {
                    writer.beginSeries(key: key, type: $0, cells: held.count)
                }
            }
            for minute in held {
                writer.append(window: start + Int64(minute), count: UInt64(counts[first + minute]))
            }
        }
        guard hasCells else { return }
        let slice = writer.bytes()
        let fault: SliceError? = slice.withUnsafeBytes { buffer in
            do throws(SliceError) {
                try memtable.apply(slice: buffer, partition: PartitionID(number % partitions))
                return nil
            } catch {
                return error
            }
        }
        if let fault { throw fault }
    }

    // MARK: - Figures

    /// Key of 11 bytes, type of 4 or 5, window and count of 8 each.
    private static func rawBytes(of table: TableHandle) -> UInt64 { table.meta.cells * 31 }

    /// Of this process: other work on the machine does not count.
    static var processorSeconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func ratio(_ bytes: UInt64, _ cells: UInt64) -> String {
        Quantity.fixed(Double(bytes) / Double(max(1, cells)), digits: 2)
    }

    private static func rate(_ bytes: UInt64, _ seconds: Double) -> String {
        Quantity.fixed(Double(bytes) / 1e6 / max(seconds, 1e-6), digits: 1)
    }
}
