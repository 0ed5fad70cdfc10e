import Core
import Storage
import Wire

/// Blocks as plain as can be: series in a list, and a reader that takes byte after byte in the
/// order of docs/formats/sstable.md. What it refuses is refused, and nothing else is.
struct BlockModel: Equatable {
    struct Cell: Equatable {
        var window: Int64
        var measure: Measure
    }

    struct Part: Equatable {
        var partition: Int
        var key: [UInt8]
        var type: [UInt8]
        var cells: [Cell]
    }

    var parts: [Part] = []

    static let buckets = TimeBuckets(window: .minute)

    // MARK: Making

    /// Sorted series of all shapes: dense and sparse, short and long, with values and without.
    static func random(_ random: inout RandomSource, parts: Int) -> BlockModel {
        var model = BlockModel()
        var partition = 0
        var key: [UInt8] = []
        for _ in 0..<parts {
            if key.isEmpty || random.below(3) > 0 {
                if random.below(4) == 0 {
                    partition = min(partition + random.below(200), Limits.partitionsMax - 1)
                }
                key = Array(key.prefix(random.below(key.count + 1)))
                let more = random.below(8) == 0 ? random.below(300) : 1 + random.below(12)
                for _ in 0..<more where key.count < Limits.keyMax {
                    key.append(UInt8(random.below(256)))
                }
            }
            let type = (0..<1 + random.below(12)).map { _ in UInt8(random.below(256)) }
            model.parts.append(
                Part(partition: partition, key: key, type: type, cells: cells(&random)))
        }
        return model
    }

    private static func cells(_ random: inout RandomSource) -> [Cell] {
        let sparse = random.below(3) == 0
        let hasValues = random.below(3) == 0
        var window = Int64(random.below(40_000_000)) - 2_000_000
        return (0..<1 + random.below(random.below(4) == 0 ? 200 : 12)).map { _ in
            window += 1 + Int64(sparse ? random.below(100_000) : random.below(3))
            let count = 1 + UInt64(random.below(9) == 0 ? random.below(1 << 40) : random.below(60))
            guard hasValues, random.below(2) == 0 else {
                return Cell(window: window, measure: Measure(count: count))
            }
            let low = Int64(random.below(1 << 40)) - 1 << 39
            let high = low + Int64(random.below(1 << 20))
            let held = 1 + UInt64(random.below(Int(min(count, 50))))
            let sum = Int128(low) * Int128(held)
            return Cell(
                window: window,
                measure: Measure(
                    count: count,
                    values: Measure.Values(count: held, sum: sum, min: low, max: high)))
        }
    }

    func encoded() -> [UInt8] {
        var builder = TableBlockBuilder()
        for part in parts {
            part.key.withUnsafeBytes { key in
                part.type.withUnsafeBytes { type in
                    builder.begin(
                        PartitionID(part.partition), key: key, type: type,
                        window: part.cells[0].window, part.cells[0].measure)
                }
            }
            for cell in part.cells.dropFirst() { builder.add(window: cell.window, cell.measure) }
        }
        return builder.finish()
    }

    // MARK: Reading

    init() {}

    /// Reads a block to its end.
    init(plainly raw: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(raw)
        let count = try reader.count(ofSize: 5)
        var sizes: [Int] = []
        for _ in 0..<5 { sizes.append(try reader.count(ofSize: 1)) }
        guard sizes.reduce(0, +) == reader.remaining else { throw reader.fail("columns") }
        var columns: [ByteReader] = []
        for size in sizes { columns.append(ByteReader(try reader.raw(size))) }
        var partition = 0
        var key: [UInt8] = []
        for _ in 0..<count {
            let distance = try columns[0].varint()
            guard distance < UInt64(Limits.partitionsMax - partition) else {
                throw columns[0].fail("partition")
            }
            partition += Int(distance)
            let shared = try columns[0].varint()
            guard shared <= UInt64(key.count) else { throw columns[0].fail("shared") }
            let rest = try columns[0].sized(max: Limits.keyMax - Int(shared))
            key = Array(key.prefix(Int(shared))) + rest
            let type = try columns[0].sized(max: Limits.typeMax)
            let cells = try columns[1].varint()
            guard cells > 0, cells <= UInt64(columns[3].remaining) else {
                throw columns[1].fail("cells")
            }
            var part = Part(partition: partition, key: key, type: type, cells: [])
            for _ in 0..<cells {
                try part.cells.append(Self.cell(after: part.cells.last, &columns))
            }
            parts.append(part)
        }
        for column in columns { try column.finish() }
    }

    private static func cell(
        after last: Cell?, _ columns: inout [ByteReader]
    ) throws(DecodeError) -> Cell {
        var window: Int64
        if let last {
            let distance = try columns[2].varint()
            guard distance > 0, distance <= UInt64(Int64.max / 4) else {
                throw columns[2].fail("distance")
            }
            window = last.window + Int64(distance)
        } else {
            window = try columns[2].zigzag()
        }
        guard buckets.isPlausible(window: window) else { throw columns[2].fail("window") }
        let head = try columns[3].varint()
        let count = head >> 1
        guard count <= StorageLimits.measureCountMax else { throw columns[3].fail("count") }
        guard head & 1 == 1 else { return Cell(window: window, measure: Measure(count: count)) }
        let held = Measure.Values(
            count: try columns[4].varint(), sum: try columns[4].fixed(),
            min: try columns[4].zigzag(), max: try columns[4].zigzag())
        guard held.count > 0, held.count <= count, held.min <= held.max,
            held.sum >= Int128(held.min) * Int128(held.count),
            held.sum <= Int128(held.max) * Int128(held.count)
        else { throw columns[4].fail("values") }
        return Cell(window: window, measure: Measure(count: count, values: held))
    }

    // MARK: Asking

    /// What a scan is told of each part.
    func sums(in range: WindowRange) -> [SeriesPart] {
        parts.map { part in
            var sum = SeriesPart()
            for cell in part.cells where range.contains(cell.window) {
                sum.add(window: cell.window, cell.measure)
            }
            return sum
        }
    }

    /// Ranges that cover all, some and nothing of the parts.
    func ranges(_ random: inout RandomSource) -> [WindowRange] {
        let windows = parts.flatMap { $0.cells.map(\.window) }
        var ranges = [WindowRange(), WindowRange(from: .max), WindowRange(to: .min)]
        for _ in 0..<4 {
            let from = windows.isEmpty ? 0 : windows[random.below(windows.count)]
            ranges.append(WindowRange(from: from, to: from + 1 + Int64(random.below(20))))
            ranges.append(WindowRange(from: from))
            ranges.append(WindowRange(to: from))
        }
        return ranges
    }
}
