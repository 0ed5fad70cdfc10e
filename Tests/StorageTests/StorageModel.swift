import Core
import Storage
import Wire

/// What the store should hold, as a dictionary: slow and obviously right.
struct StorageModel: Hashable {
    struct Cell: Hashable, Comparable {
        var partition: PartitionID
        var key: [UInt8]
        var type: [UInt8]
        var window: Int64

        static func < (left: Cell, right: Cell) -> Bool {
            if left.partition != right.partition { return left.partition < right.partition }
            if left.key != right.key { return left.key.lexicographicallyPrecedes(right.key) }
            if left.type != right.type { return left.type.lexicographicallyPrecedes(right.type) }
            return left.window < right.window
        }
    }

    static let key = SipKey(low: 0x0123_4567_89ab_cdef, high: 0xfedc_ba98_7654_3210)
    static let partitions = 8
    static let options = {
        var options = StorageOptions(digestKey: key, logFileMax: 4096)
        options.hasColdTier = true
        return options
    }()

    var cells: [Cell: Measure] = [:]

    mutating func add(_ slice: RandomSlice) {
        for (cell, measure) in slice.cells { cells[cell, default: .zero].add(measure) }
    }

    func rows(_ query: SeriesQuery) -> [SeriesRow] {
        cells.keys.filter { cell in
            cell.partition == query.partition && cell.key == query.key
                && (query.type == nil || cell.type == query.type)
                && query.windows.contains(cell.window)
        }.sorted().map { SeriesRow(type: $0.type, window: $0.window, measure: cells[$0] ?? .zero) }
    }

    func selected(by spec: ScanSpec) -> [(cell: Cell, measure: Measure)] {
        cells.filter { cell, _ in
            spec.partitions.contains(cell.partition)
                && (spec.type == nil || cell.type == spec.type)
                && spec.windows.contains(cell.window)
        }.map { ($0.key, $0.value) }.sorted { $0.cell < $1.cell }
    }

    /// Straight from the definition in `StateDigest`, term by term.
    func digest(of partition: PartitionID) -> StateDigest {
        var digest = StateDigest.zero
        for (cell, measure) in cells where cell.partition == partition {
            let day = floorDivide(cell.window * 60_000, 86_400_000)
            let terms = cell.key.withUnsafeBytes { key in
                cell.type.withUnsafeBytes { SeriesTerms(key: key, type: $0, digestKey: Self.key) }
            }
            digest.add(measure, term: terms.term(day: day))
        }
        return digest
    }

    static func memtable(bytesMax: Int = StorageLimits.memtableBytesDefault) -> Memtable {
        Memtable(partitions: partitions, digestKey: key, window: .minute, bytesMax: bytesMax)
    }

    static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
}

/// The cells of a batch in one partition, with their encoding.
struct RandomSlice: Hashable {
    var partition: PartitionID
    var cells: [StorageModel.Cell: Measure]

    /// Few keys, types and days, so that slices meet in the same cells; now and then a far window.
    init(_ random: inout RandomSource, keys: Int = 12, cellCount: Int = 20) {
        partition = PartitionID(random.below(StorageModel.partitions))
        cells = [:]
        for _ in 0..<1 + random.below(cellCount) {
            let key = "key-\(partition.index)-\(random.below(keys))"
            let type = random.pick(["view", "like", "share"])
            var window = Int64(23_000_000 + random.below(5000))
            if random.chance(1, in: 10) { window = Int64(random.below(40_000_000)) - 8_000_000 }
            let cell = StorageModel.Cell(
                partition: partition, key: Array(key.utf8), type: Array(type.utf8), window: window)
            let value = random.chance(1, in: 3) ? Int64(random.below(2_000_001)) - 1_000_000 : nil
            cells[cell, default: .zero].add(Measure(event: value))
        }
    }

    init(partition: PartitionID, cells: [StorageModel.Cell: Measure]) {
        self.partition = partition
        self.cells = cells
    }

    /// docs/formats/slice.md, series by series.
    var bytes: [UInt8] {
        var writer = SliceWriter()
        var series: [(first: StorageModel.Cell, cells: [StorageModel.Cell])] = []
        for cell in cells.keys.sorted() {
            if let last = series.last?.first, last.key == cell.key, last.type == cell.type {
                series[series.count - 1].cells.append(cell)
            } else {
                series.append((cell, [cell]))
            }
        }
        for (first, members) in series {
            first.key.withUnsafeBytes { key in
                first.type.withUnsafeBytes { type in
                    writer.beginSeries(key: key, type: type, cells: members.count)
                }
            }
            for cell in members {
                let measure = cells[cell] ?? .zero
                if let values = measure.values {
                    writer.append(window: cell.window, count: measure.count, values: values)
                } else {
                    writer.append(window: cell.window, count: measure.count)
                }
            }
        }
        return writer.bytes()
    }
}

extension Memtable {
    mutating func apply(_ slice: RandomSlice) throws {
        try apply(slice.bytes, slice.partition)
    }

    mutating func apply(_ bytes: [UInt8], _ partition: PartitionID) throws {
        // The error leaves the closure as a value: a closure that throws it crashes the compiler.
        let fault: SliceError? = bytes.withUnsafeBytes { buffer in
            do throws(SliceError) {
                try apply(slice: buffer, partition: partition)
                return nil
            } catch {
                return error
            }
        }
        if let fault { throw fault }
    }
}

extension PartitionSet {
    static var all: PartitionSet {
        PartitionSet((0..<StorageModel.partitions).map { PartitionID($0) })
    }
}
