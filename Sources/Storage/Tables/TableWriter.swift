import Core
import Wire

/// Writes one table from cells that come in order: blocks, index, filter, footer. The file is a
/// draft until its writer's owner has looked at it and renamed it.
struct TableWriter {
    let id: UInt64
    let granularity: Granularity
    let bucket: Int64
    private let file: any StoredFile
    private let options: StorageOptions
    private(set) var statistics: TableStatistics
    private var filter: KeyFilter
    private var index = TableIndex()
    private var block = TableBlockBuilder()
    private var isSeriesOpen = false
    private var pending: [[UInt8]] = []
    private var pendingBytes = 0
    private(set) var written: UInt64 = 0

    /// Bytes that are gathered for one write.
    private static let writeSize = 1 << 20

    /// - Parameter keysMax: no more keys come than this.
    init(
        file: any StoredFile, id: UInt64, granularity: Granularity = .base, bucket: Int64,
        keysMax: Int, options: StorageOptions
    ) {
        self.file = file
        self.id = id
        self.granularity = granularity
        self.bucket = bucket
        self.options = options
        statistics = TableStatistics(options: options)
        filter = KeyFilter(keysMax: keysMax)
    }

    private var offset: UInt64 { written + UInt64(pendingBytes) }

    /// - Parameter known: as in `TableStatistics.begin`.
    mutating func begin(
        _ partition: PartitionID, key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer,
        known: DayTerms?
    ) {
        if statistics.begin(partition, key: key, type: type, known: known) == .key {
            filter.insert(KeyFilter.hash(partition, key))
        }
        isSeriesOpen = false
    }

    mutating func add(window: Int64, _ measure: Measure) throws(StorageError) {
        if block.rawSize >= options.blockTarget { try closeBlock() }
        if isSeriesOpen {
            block.add(window: window, measure)
        } else {
            block.begin(
                statistics.partition, key: statistics.key.bytes, type: statistics.type.bytes,
                window: window, measure)
            isSeriesOpen = true
        }
        statistics.add(window: window, measure)
    }

    /// Writes what is left and syncs the file; what the cells added up to.
    mutating func finish() throws(StorageError) -> TableStatistics {
        try closeBlock()
        let indexOffset = offset
        let indexChecksum = try append(.index, index.bytes)
        let filterOffset = offset
        filter.fold(toHold: Int(statistics.keys))
        let filterChecksum = try append(.filter, filter.bytes)
        let footerOffset = offset
        var footer = TableFooter(
            id: id, granularity: granularity, bucket: bucket, window: options.window,
            statistics: statistics, indexOffset: indexOffset, filterOffset: filterOffset)
        footer.checksums = SectionChecksums(index: indexChecksum, filter: filterChecksum)
        try append(.footer, footer.bytes)
        let tail = FramedFile.tail(
            of: TableFooter.kind, footerOffset: footerOffset, length: offset - footerOffset)
        pending.append(tail)
        pendingBytes += tail.count
        try flush()
        try file.sync()
        return statistics
    }

    private mutating func closeBlock() throws(StorageError) {
        guard let first = block.first else { return }
        let cells = block.cells
        let start = offset
        let checksum = try append(.block, block.finish())
        index.append(
            TableIndex.Entry(
                offset: start, length: Int(offset - start), cells: cells, first: first,
                checksum: checksum))
        isSeriesOpen = false
    }

    /// The frame's checksum.
    @discardableResult
    private mutating func append(
        _ kind: SectionFrame.Kind, _ raw: [UInt8]
    ) throws(StorageError) -> UInt32 {
        let frame = SectionFrame.encode(kind, raw, table: id, at: offset)
        pending.append(frame)
        pendingBytes += frame.count
        if pendingBytes >= Self.writeSize { try flush() }
        return SectionFrame.checksum(frame)
    }

    private mutating func flush() throws(StorageError) {
        try file.write(pending, at: written)
        written += UInt64(pendingBytes)
        pending = []
        pendingBytes = 0
    }
}
