import Core
import Wire

/// Writes one table from cells that come in order: blocks, index, filter, footer. The file is a
/// draft until its writer's owner has looked at it and renamed it.
struct TableWriter {
    let granularity: Granularity
    let bucket: Int64
    private var frames: FrameWriter
    private let options: StorageOptions
    private(set) var statistics: TableStatistics
    private var filter: KeyFilter
    private var index = TableIndex()
    private var block = TableBlockBuilder()
    private var isSeriesOpen = false
    /// Whether the next cell is the first of its key.
    private var startsKey = false

    /// - Parameter keysMax: no more keys come than this.
    init(
        file: any StoredFile, id: UInt64, granularity: Granularity = .base, bucket: Int64,
        keysMax: Int, options: StorageOptions
    ) {
        frames = FrameWriter(file, id: id)
        self.granularity = granularity
        self.bucket = bucket
        self.options = options
        statistics = TableStatistics(options: options)
        filter = KeyFilter(keysMax: keysMax)
    }

    var id: UInt64 { frames.id }

    var written: UInt64 { frames.written }

    /// - Parameter known: as in `TableStatistics.begin`.
    mutating func begin(
        _ partition: PartitionID, key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer,
        known: DayTerms?
    ) {
        if statistics.begin(partition, key: key, type: type, known: known) == .key {
            filter.insert(KeyFilter.hash(partition, key))
            startsKey = true
        }
        isSeriesOpen = false
    }

    mutating func add(window: Int64, _ measure: Measure) throws(StorageError) {
        // Rather between two keys than within one: then who looks for a key reads one block.
        let room = startsKey ? options.blockTarget / StorageLimits.blockFreeShare : 0
        if block.rawSize + room >= options.blockTarget { try closeBlock() }
        startsKey = false
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
        index.bounds = statistics.foundBounds
        var indexBytes = index.bytes
        if indexBytes.count > StorageLimits.sectionRawMax {
            index.bounds = nil
            indexBytes = index.bytes
        }
        let indexOffset = frames.offset
        let indexChecksum = try frames.append(.index, indexBytes)
        let filterOffset = frames.offset
        filter.fold(toHold: Int(statistics.keys))
        let filterChecksum = try frames.append(.filter, filter.bytes)
        var footer = TableFooter(
            id: id, granularity: granularity, bucket: bucket, window: options.window,
            statistics: statistics, indexOffset: indexOffset, filterOffset: filterOffset)
        footer.checksums = SectionChecksums(index: indexChecksum, filter: filterChecksum)
        try frames.finish(TableFooter.kind, .footer, footer.bytes)
        return statistics
    }

    private mutating func closeBlock() throws(StorageError) {
        guard let first = block.first else { return }
        let cells = block.cells
        let start = frames.offset
        let checksum = try frames.append(.block, block.finish())
        index.append(
            TableIndex.Entry(
                offset: start, length: Int(frames.offset - start), cells: cells, first: first,
                checksum: checksum))
        statistics.endBlock()
        isSeriesOpen = false
    }
}
