import Core
import Storage
import Testing
import Wire

/// What a disk must hold, for each number of slices that came back. It reads what is recovered:
/// every block of every table, and some series with their counts, sums, minima and maxima.
struct CrashOracle {
    /// Series that are read of each recovered store: all of them of some thousands of stores would
    /// take minutes.
    static let sampledSeries = 2

    /// What a slice brought to a key.
    private struct Part {
        var lsn: UInt64
        var type: [UInt8]
        var window: Int64
        var measure: Measure
    }

    /// Of a file whose bytes are the same in many states one reading is enough.
    private struct TableFile: Hashable {
        var path: String
        var bytes: [UInt8]

        /// Without the bytes, which states share: that they are the same is seen at once.
        func hash(into hasher: inout Hasher) {
            hasher.combine(path)
            hasher.combine(bytes.count)
        }
    }

    private final class Desk {
        var verified: Set<TableFile> = []
        var random = RandomSource(seed: 283)
    }

    /// By the number of slices and by partition.
    private var digests: [[StateDigest]]
    private var parts: [SeriesQuery: [Part]] = [:]
    private let keys: [SeriesQuery]
    private let desk = Desk()

    init(_ slices: [RandomSlice]) {
        var sums = PartitionSet.all.map { _ in StateDigest.zero }
        digests = [sums]
        for (number, slice) in slices.enumerated() {
            var model = StorageModel()
            model.add(slice)
            sums[Int(slice.partition.index)].merge(model.digest(of: slice.partition))
            digests.append(sums)
            for cell in slice.cells.keys.sorted() {
                let query = SeriesQuery(partition: cell.partition, key: cell.key)
                parts[query, default: []].append(
                    Part(
                        lsn: UInt64(number) + 1, type: cell.type, window: cell.window,
                        measure: slice.cells[cell] ?? .zero))
            }
        }
        keys = parts.keys.sorted {
            ($0.partition, $0.key.description) < ($1.partition, $1.key.description)
        }
    }

    /// What each partition holds when so many slices came back.
    func digests(through lsn: LSN) -> [StateDigest] { digests[Int(lsn.number)] }

    /// - Parameter series: how many are read; `.max`: all.
    func check(
        _ crashed: MemoryFileSystem, _ promise: StorePromise, _ what: String,
        series: Int = sampledSeries
    ) throws {
        let flaws = try flaws(in: crashed, promise, series: series)
        #expect(flaws.isEmpty, "\(what): \(flaws)")
    }

    /// Recovers, replays beyond the coverage, and compares with the sum of a prefix of the slices;
    /// then recovers again.
    func flaws(
        in crashed: MemoryFileSystem, _ promise: StorePromise, series: Int = sampledSeries
    ) throws -> [String] {
        var memtable = StorageModel.memtable()
        var last = LSN.zero
        var faults = 0
        var husks: [BatchID: Husk] = [:]
        let recovered = try Recovery.open(
            crashed, options: StorageModel.options, mine: .all,
            husk: { husk, _ in husks[husk.header.id] = husk },
            visit: { record, manifest in
                last = max(last, record.lsn)
                guard record.lsn > manifest.coveredThrough else { return }
                do {
                    try memtable.apply(
                        Array(record.payload.dropFirst()), PartitionID(Int(record.payload[0])))
                } catch {
                    faults += 1
                }
            })
        last = max(last, recovered.manifest.coveredThrough)
        var flaws: [String] = []
        func expect(_ holds: Bool, _ flaw: @autoclosure () -> String) {
            if !holds { flaws.append(flaw()) }
        }
        expect(faults == 0, "\(faults) records cannot be applied")
        expect(recovered.damage.isEmpty, "damage: \(recovered.damage)")
        expect(last >= promise.synced, "synced \(promise.synced), recovered \(last)")
        expect(recovered.manifest.coveredThrough >= promise.covered, "the coverage went back")
        expect(recovered.cursor.last == last, "the cursor stands at \(recovered.cursor.last)")
        if let identity = promise.identity {
            expect(recovered.manifest.identity == identity, "another identity")
        }
        guard last.number <= UInt64(promise.slices.count) else {
            return flaws + ["\(last) was never appended"]
        }
        flaws += digestFlaws(recovered, memtable, last)
        flaws += tableFlaws(recovered, crashed.contents)
        flaws += try seriesFlaws(recovered, memtable, last, series)
        flaws += try historyFlaws(recovered, promise)
        flaws += huskFlaws(recovered, husks)
        let contents = crashed.contents
        let again = try Recovery.open(crashed, options: StorageModel.options) { _, _ in }
        expect(crashed.contents == contents, "a second recovery changed bytes")
        expect(again.cursor == recovered.cursor, "a second recovery goes on elsewhere")
        expect(again.manifest == recovered.manifest, "a second recovery has another manifest")
        return flaws
    }

    // MARK: - Cells

    /// What the slices beyond `lsn` and up to `last` add up to.
    private func digest(of partition: Int, after lsn: LSN, through last: LSN) -> StateDigest {
        let sum = digests[Int(last.number)][partition]
        let before = digests[Int(lsn.number)][partition]
        return StateDigest(counts: sum.counts &- before.counts, sums: sum.sums &- before.sums)
    }

    private func digestFlaws(
        _ recovered: Recovered, _ memtable: Memtable, _ last: LSN
    ) -> [String] {
        var flaws: [String] = []
        for partition in PartitionSet.all {
            var found = memtable.stateDigest(of: partition)
            for table in recovered.tables { found.merge(table.stateDigest(of: partition)) }
            // What expired is gone from the tables, and not from what replicas compare.
            if let dropped = recovered.manifest.retention.dropped[partition] {
                found.merge(dropped.state)
            }
            let expected = digest(
                of: Int(partition.index), after: recovered.manifest.voidThrough, through: last)
            if found != expected { flaws.append("digest of \(partition)") }
        }
        return flaws
    }

    /// Every cell of every table is read.
    private func tableFlaws(_ recovered: Recovered, _ contents: [String: [UInt8]]) -> [String] {
        var flaws: [String] = []
        for table in recovered.tables {
            let file = TableFile(path: table.path, bytes: contents[table.path] ?? [])
            guard !desk.verified.contains(file) else { continue }
            do throws(StorageError) {
                try table.verify()
                desk.verified.insert(file)
            } catch {
                flaws.append("table: \(error)")
            }
        }
        return flaws
    }

    private func seriesFlaws(
        _ recovered: Recovered, _ memtable: Memtable, _ last: LSN, _ wanted: Int
    ) throws -> [String] {
        guard !keys.isEmpty else { return [] }
        guard let gone = gone(recovered, last) else {
            return ["what was dropped is no prefix of the slices"]
        }
        let chosen =
            wanted >= keys.count ? keys : (0..<wanted).map { _ in desk.random.pick(keys) }
        let floor = recovered.manifest.retention.floor
        var flaws: [String] = []
        for query in chosen {
            var rows = memtable.series(query)
            do throws(StorageError) {
                for table in recovered.tables { try table.series(query, into: &rows) }
            } catch {
                flaws.append("table: \(error)")
                continue
            }
            let found = SeriesRow.shown(
                SeriesRow.merge(rows), by: floor, StorageModel.options.buckets)
            if found != expected(query, after: gone, through: last, floor) {
                flaws.append("series \(String(decoding: query.key, as: UTF8.self))")
            }
        }
        return flaws
    }

    /// Through which slice all is gone from the tables, by what was set aside and what expired; nil
    /// where no such slice fits.
    private func gone(_ recovered: Recovered, _ last: LSN) -> LSN? {
        let void = recovered.manifest.voidThrough
        let dropped = recovered.manifest.retention.dropped
        if dropped.isEmpty { return void }
        return (void.number...last.number).lazy.map { LSN($0) }.first { lsn in
            PartitionSet.all.allSatisfy { partition in
                (dropped[partition]?.state ?? .zero)
                    == digest(of: Int(partition.index), after: void, through: lsn)
            }
        }
    }

    /// The rows that a model has of a key, in minutes, hours or days.
    private func expected(
        _ query: SeriesQuery, after gone: LSN, through last: LSN, _ floor: RetentionFloor
    ) -> [SeriesRow] {
        var model = StorageModel()
        for part in parts[query] ?? [] where part.lsn > gone.number && part.lsn <= last.number {
            let minutes: Int64 =
                part.window < floor.days ? 1440 : part.window < floor.hours ? 60 : 1
            let cell = StorageModel.Cell(
                partition: query.partition, key: query.key, type: part.type,
                window: floorDivide(part.window, minutes) * minutes)
            model.cells[cell, default: .zero].add(part.measure)
        }
        return model.rows(query)
    }

    // MARK: - History

    /// Each outcome once, and as many as the manifest says are forgotten.
    private func historyFlaws(_ recovered: Recovered, _ promise: StorePromise) throws -> [String] {
        let told = recovered.history.reduce(0) { $0 + Int($1.meta.outcomes) }
        guard told >= promise.outcomes else { return ["\(told) of \(promise.outcomes) outcomes"] }
        let base = recovered.manifest.base
        if !base.partitions.isEmpty, base[PartitionID(0)].events != UInt64(told) {
            return ["\(base[PartitionID(0)].events) batches are forgotten, \(told) are told"]
        }
        guard promise.outcomes > 0 else { return [] }
        for number in [0, promise.outcomes - 1] {
            let id = HistoryTests.header(number).id
            let found = try recovered.history.compactMap { try $0.lookUp(id) }
            if found.map(\.totals) != [HistoryTests.record(number).totals] {
                return ["the outcome of batch \(number): \(found.count) times"]
            }
        }
        return []
    }

    /// The husks that were written with what is forgotten are there.
    private func huskFlaws(_ recovered: Recovered, _ husks: [BatchID: Husk]) -> [String] {
        guard !recovered.manifest.base.partitions.isEmpty else { return [] }
        let next = Int(recovered.manifest.base[PartitionID(0)].events)
        return (next..<next + StoreLife.husksOfCheckpoint).filter {
            husks[HistoryTests.header($0).id] != HistoryTests.husk($0)
        }.map { "the husk of batch \($0)" }
    }
}
