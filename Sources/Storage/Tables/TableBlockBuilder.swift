package import Core
import Wire

/// Collects the cells of one block and lays them out by columns: heads of series, cells per series,
/// windows as deltas, counts, values (docs/formats/sstable.md). Columns of like numbers compress
/// far better than rows do.
package struct TableBlockBuilder: Sendable {
    private var heads = ByteWriter(capacity: 1 << 14)
    private var lengths = ByteWriter(capacity: 1 << 12)
    private var windows = ByteWriter(capacity: 1 << 14)
    private var counts = ByteWriter(capacity: 1 << 14)
    private var values = ByteWriter(capacity: 1 << 10)
    private var entries = 0
    private var cellsOfEntry = 0
    private var lastWindow: Int64 = 0
    private var lastKey = KeyBuffer(capacity: Limits.keyMax)
    private var lastPartition = 0
    private(set) var cells = 0
    private(set) var first: TablePoint?

    package init() {}

    var rawSize: Int {
        heads.bytes.count + lengths.bytes.count + windows.bytes.count + counts.bytes.count
            + values.bytes.count
    }

    /// Begins a series, or goes on with one that began in the block before, with its first cell.
    package mutating func begin(
        _ partition: PartitionID, key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer,
        window: Int64, _ measure: Measure
    ) {
        closeEntry()
        if first == nil {
            first = TablePoint(
                partition: partition, key: Array(key), type: Array(type), window: window)
        }
        let shared = ByteOrder.commonPrefix(lastKey.bytes, key)
        let rest = UnsafeRawBufferPointer(rebasing: key[shared...])
        heads.write(varint: UInt64(Int(partition.index) - lastPartition))
        heads.write(count: shared)
        heads.write(count: rest.count)
        heads.write(raw: rest)
        heads.write(count: type.count)
        heads.write(raw: type)
        windows.write(zigzag: window)
        lastKey.replace(from: shared, with: rest)
        lastPartition = Int(partition.index)
        entries += 1
        append(window, measure)
    }

    /// The next cell of the series.
    package mutating func add(window: Int64, _ measure: Measure) {
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
    package mutating func finish() -> [UInt8] {
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
