import Core
import Wire

/// Walks the cells of a table in their order, and adds them up as they pass: at the end the
/// statistics must be those of the footer. It holds one block.
struct TableCursor: Sendable {
    let table: TableHandle
    private(set) var statistics: TableStatistics
    // Where it stands; nothing of it means anything at the end.
    private(set) var window: Int64 = 0
    private(set) var measure = Measure.zero
    private(set) var isAtEnd = false
    /// Of the file, as it is stored.
    private(set) var bytesRead: UInt64 = 0
    private let windows: ClosedRange<Int64>
    private let checksFilter: Bool
    private var block: BlockWalk
    private var number = -1
    private var cellsOfBlock = 0

    var partition: PartitionID { statistics.partition }

    /// As `type`, valid until the next step.
    var key: UnsafeRawBufferPointer { statistics.key.bytes }

    var type: UnsafeRawBufferPointer { statistics.type.bytes }

    /// Stands at the first cell.
    ///
    /// - Parameter checksFilter: a key that the filter denies is damage: nobody would find it. Who
    ///   only wants the cells does without.
    init(
        _ table: TableHandle, windowsBy granularity: Granularity = .base,
        checksFilter: Bool = true
    ) throws(StorageError) {
        self.table = table
        self.checksFilter = checksFilter
        statistics = TableStatistics(options: table.options, windowsBy: granularity)
        block = BlockWalk(empty: table.options.buckets)
        windows = table.options.buckets.windows(ofBucket: table.meta.bucket)
        _ = try nextPart()
    }

    /// Goes to the next cell; true where it is one of the same series.
    mutating func step() throws(StorageError) -> Bool {
        if try nextCell() { return true }
        return try nextPart()
    }

    /// Goes on until about so many bytes more were read; true at the end.
    mutating func run(_ bytes: Int) throws(StorageError) -> Bool {
        let end = bytesRead + UInt64(bytes)
        while !isAtEnd {
            guard bytesRead < end else { return false }
            _ = try step()
        }
        return true
    }

    private mutating func nextCell() throws(StorageError) -> Bool {
        do throws(DecodeError) {
            guard let cell = try block.nextCell() else { return false }
            guard windows.contains(cell.window) else {
                throw DecodeError("window \(cell.window) of another bucket", at: 0)
            }
            window = cell.window
            measure = cell.measure
        } catch {
            throw damaged(error.description)
        }
        statistics.add(window: window, measure)
        cellsOfBlock += 1
        return true
    }

    /// A series may go on in the next block.
    private mutating func nextPart() throws(StorageError) -> Bool {
        while try !nextSeries() {
            guard try nextBlock() else {
                isAtEnd = true
                return false
            }
        }
        try checkOrder()
        let begun = statistics.begin(block.partition, key: block.key, type: block.type)
        let last = window
        guard try nextCell() else { preconditionFailure("a series holds at least one cell") }
        if begun == .nothing, window <= last { throw damaged("windows do not ascend") }
        if cellsOfBlock == 1 { try checkFirstCell() }
        if checksFilter, begun == .key { try checkFilter() }
        return begun == .nothing
    }

    /// Series ascend: what a scan passes over depends on it.
    private func checkOrder() throws(StorageError) {
        guard statistics.series > 0 else { return }
        guard block.partition.index == partition.index else {
            guard block.partition > partition else { throw damaged("partitions do not ascend") }
            return
        }
        let keys = block.isSameKey ? 0 : ByteOrder.compare(block.key, key)
        guard keys > 0 || keys == 0 && ByteOrder.compare(block.type, type) >= 0 else {
            throw damaged("keys or types do not ascend")
        }
    }

    private func checkFirstCell() throws(StorageError) {
        let first = table.index.entries[number].first
        let isIt =
            first.partition == partition && first.window == window
            && first.key.withUnsafeBytes { ByteOrder.areEqual($0, key) }
            && first.type.withUnsafeBytes { ByteOrder.areEqual($0, type) }
        guard isIt else { throw damaged("the index says that the block begins otherwise") }
    }

    private func checkFilter() throws(StorageError) {
        guard table.mayHold(KeyFilter.hash(partition, key), in: partition) else {
            throw damaged("the filter says that a key of the block is not here")
        }
    }

    private mutating func nextSeries() throws(StorageError) -> Bool {
        do throws(DecodeError) {
            return try block.next()
        } catch {
            throw damaged(error.description)
        }
    }

    private mutating func nextBlock() throws(StorageError) -> Bool {
        if number >= 0 {
            let cells = table.index.entries[number].cells
            guard cellsOfBlock == cells else {
                throw damaged("the block holds \(cellsOfBlock) cells, the index says \(cells)")
            }
            statistics.endBlock()
        }
        cellsOfBlock = 0
        guard number + 1 < table.index.entries.count else { return false }
        number += 1
        block = try table.block(number)
        bytesRead += UInt64(table.index.entries[number].length)
        return true
    }

    private func damaged(_ what: String) -> StorageError {
        table.damaged(number, what)
    }
}
