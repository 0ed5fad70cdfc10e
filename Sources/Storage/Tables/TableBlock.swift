import Core
import Wire

/// Collects the cells of one block and lays them out by columns: heads of series, cells per series,
/// windows as deltas, counts, values (docs/formats/sstable.md). Columns of like numbers compress
/// far better than rows do.
struct TableBlockBuilder: Sendable {
    private var heads = ByteWriter(capacity: 1 << 14)
    private var lengths = ByteWriter(capacity: 1 << 12)
    private var windows = ByteWriter(capacity: 1 << 14)
    private var counts = ByteWriter(capacity: 1 << 14)
    private var values = ByteWriter(capacity: 1 << 10)
    private var entries = 0
    private var cellsOfEntry = 0
    private var lastWindow: Int64 = 0
    private var lastKey: [UInt8] = []
    private var lastPartition = 0
    private(set) var cells = 0
    private(set) var first: TablePoint?

    var rawSize: Int {
        heads.bytes.count + lengths.bytes.count + windows.bytes.count + counts.bytes.count
            + values.bytes.count
    }

    /// Begins a series, or goes on with one that began in the block before, with its first cell.
    mutating func begin(
        _ partition: PartitionID, key: [UInt8], type: [UInt8], window: Int64, _ measure: Measure
    ) {
        closeEntry()
        if first == nil {
            first = TablePoint(partition: partition, key: key, type: type, window: window)
        }
        let shared = Self.commonPrefix(lastKey, key)
        heads.write(varint: UInt64(Int(partition.index) - lastPartition))
        heads.write(count: shared)
        heads.write(count: key.count - shared)
        key.withUnsafeBytes { heads.write(raw: UnsafeRawBufferPointer(rebasing: $0[shared...])) }
        heads.write(sized: type)
        windows.write(zigzag: window)
        lastKey = key
        lastPartition = Int(partition.index)
        entries += 1
        append(window, measure)
    }

    private static func commonPrefix(_ left: [UInt8], _ right: [UInt8]) -> Int {
        let most = min(left.count, right.count)
        var shared = 0
        while shared < most, left[shared] == right[shared] { shared += 1 }
        return shared
    }

    /// The next cell of the series.
    mutating func add(window: Int64, _ measure: Measure) {
        precondition(window > lastWindow, "the windows of a series ascend")
        windows.write(varint: UInt64(window &- lastWindow))
        append(window, measure)
    }

    private mutating func append(_ window: Int64, _ measure: Measure) {
        precondition(measure.count <= StorageLimits.measureCountMax, "a cell counts beyond 2^56")
        counts.write(varint: measure.count << 1 | (measure.values == nil ? 0 : 1))
        if let held = measure.values {
            values.write(varint: held.count)
            values.write(fixed: held.sum)
            values.write(zigzag: held.min)
            values.write(zigzag: held.max)
        }
        lastWindow = window
        cellsOfEntry += 1
        cells += 1
    }

    private mutating func closeEntry() {
        guard cellsOfEntry > 0 else { return }
        lengths.write(count: cellsOfEntry)
        cellsOfEntry = 0
    }

    /// The raw bytes; the builder is empty again.
    mutating func finish() -> [UInt8] {
        closeEntry()
        var block = ByteWriter(capacity: rawSize + 32)
        block.write(count: entries)
        let columns = [heads.bytes, lengths.bytes, windows.bytes, counts.bytes, values.bytes]
        for column in columns { block.write(count: column.count) }
        for column in columns { block.write(raw: column) }
        self = TableBlockBuilder()
        return block.bytes
    }
}

/// Walks the series of a raw block and the cells of each.
///
///     while try block.nextSeries() { while let cell = try block.nextCell() { … } }
struct TableBlockReader: Sendable {
    private var heads: ByteReader
    private var lengths: ByteReader
    private var windows: ByteReader
    private var counts: ByteReader
    private var values: ByteReader
    private var entriesLeft: Int
    private var cellsLeft = 0
    private var isFirstCell = true
    private var window: Int64 = 0
    private var partitionIndex = 0
    private let buckets: TimeBuckets
    private(set) var key: [UInt8] = []
    private(set) var type: [UInt8] = []

    var partition: PartitionID { PartitionID(partitionIndex) }

    /// Without any series.
    init(empty buckets: TimeBuckets) {
        self.buckets = buckets
        entriesLeft = 0
        heads = ByteReader([])
        lengths = heads
        windows = heads
        counts = heads
        values = heads
    }

    init(_ raw: [UInt8], buckets: TimeBuckets) throws(DecodeError) {
        self.buckets = buckets
        var reader = ByteReader(raw)
        entriesLeft = try reader.count(ofSize: 5)
        var sizes: [Int] = []
        for _ in 0..<5 { sizes.append(try reader.count(ofSize: 1)) }
        guard sizes.reduce(0, +) == reader.remaining else {
            throw reader.fail("a block's columns do not fill it")
        }
        var columns: [ByteReader] = []
        var start = reader.offset
        for size in sizes {
            columns.append(ByteReader(raw, from: start, to: start + size))
            start += size
        }
        heads = columns[0]
        lengths = columns[1]
        windows = columns[2]
        counts = columns[3]
        values = columns[4]
    }

    /// Goes to the next series, over what is left of the present one; false at the end.
    mutating func nextSeries() throws(DecodeError) -> Bool {
        while try nextCell() != nil {}
        guard entriesLeft > 0 else {
            guard heads.isAtEnd, lengths.isAtEnd, windows.isAtEnd, counts.isAtEnd, values.isAtEnd
            else { throw heads.fail("a block's columns hold more than its series") }
            return false
        }
        entriesLeft -= 1
        let delta = try heads.varint()
        guard delta < UInt64(Limits.partitionsMax - partitionIndex) else {
            throw heads.fail("a partition beyond \(Limits.partitionsMax)")
        }
        partitionIndex += Int(delta)
        let shared = try heads.varint()
        guard shared <= UInt64(key.count) else { throw heads.fail("a key shares too much") }
        try heads.sized(max: Limits.keyMax - Int(shared), replacing: Int(shared), of: &key)
        try heads.sized(max: Limits.typeMax, replacing: 0, of: &type)
        cellsLeft = try lengths.cellCount(within: counts.remaining)
        isFirstCell = true
        return true
    }

    /// The next cell of the series; nil at its end.
    mutating func nextCell() throws(DecodeError) -> (window: Int64, measure: Measure)? {
        guard cellsLeft > 0 else { return nil }
        cellsLeft -= 1
        if isFirstCell {
            window = try windows.zigzag()
            isFirstCell = false
        } else {
            let delta = try windows.varint()
            guard delta > 0, delta <= UInt64(Int64.max / 4) else {
                throw windows.fail("windows do not ascend")
            }
            window += Int64(delta)
        }
        guard buckets.isPlausible(window: window) else { throw windows.fail("window \(window)") }
        let head = try counts.varint()
        let count = head >> 1
        guard count <= StorageLimits.measureCountMax else {
            throw counts.fail("a count of \(count)")
        }
        guard head & 1 == 1 else { return (window, Measure(count: count)) }
        let held = Measure.Values(
            count: try values.varint(), sum: try values.fixed(), min: try values.zigzag(),
            max: try values.zigzag())
        guard held.arePlausible(for: count) else { throw values.fail("impossible values") }
        return (window, Measure(count: count, values: held))
    }
}

extension ByteReader {
    fileprivate mutating func cellCount(within limit: Int) throws(DecodeError) -> Int {
        let count = try varint()
        guard count > 0, count <= UInt64(limit) else { throw fail("a series of \(count) cells") }
        return Int(count)
    }
}
