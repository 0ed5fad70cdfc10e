import Core

/// Adds up the cells of a table as they pass in order: the same type when they are written, when
/// they are read back before the flush counts, and when the scrubber looks again.
struct TableStatistics: Sendable {
    private(set) var series: UInt64 = 0
    private(set) var keys: UInt64 = 0
    private(set) var checksum = CellChecksum()
    private(set) var firstWindow = Int64.max
    private(set) var lastWindow = Int64.min
    private(set) var firstKey: [UInt8]?
    private(set) var lastKey: [UInt8]?
    private(set) var partitions: [TablePartition] = []
    private(set) var keyHashes: [UInt64] = []
    private var key: [UInt8] = []
    private var type: [UInt8] = []
    private var terms: SeriesTerms?
    private var day: Int64?
    private var term: UInt128 = 0
    private let digestKey: SipKey
    private let buckets: TimeBuckets

    init(options: StorageOptions) {
        digestKey = options.digestKey
        buckets = options.buckets
    }

    /// Before the cells of a series, or of a part of one: parts of the same series follow one
    /// another.
    mutating func begin(_ partition: PartitionID, key: [UInt8], type: [UInt8]) {
        let isNewPartition = partitions.last?.partition != partition
        let isNewKey = isNewPartition || key != self.key
        guard isNewKey || type != self.type || terms == nil else { return }
        if isNewPartition {
            partitions.append(
                TablePartition(partition: partition, cells: 0, total: .zero, digest: .zero))
        }
        if isNewKey {
            keys += 1
            keyHashes.append(key.withUnsafeBytes { KeyFilter.hash(partition, $0) })
            if firstKey.map({ ByteOrder.compare(key, $0) < 0 }) ?? true { firstKey = key }
            if lastKey.map({ ByteOrder.compare(key, $0) > 0 }) ?? true { lastKey = key }
        }
        series += 1
        self.key = key
        self.type = type
        day = nil
        terms = key.withUnsafeBytes { key in
            type.withUnsafeBytes { SeriesTerms(key: key, type: $0, digestKey: digestKey) }
        }
    }

    mutating func add(window: Int64, _ measure: Measure) {
        guard let terms, !partitions.isEmpty else {
            preconditionFailure("a cell came before its series")
        }
        let day = buckets.day(of: window)
        if self.day != day {
            self.day = day
            term = terms.term(day: day)
        }
        let last = partitions.count - 1
        partitions[last].cells += 1
        partitions[last].total.add(measure)
        partitions[last].digest.add(measure, term: term)
        checksum.add(terms, window: window, measure)
        firstWindow = min(firstWindow, window)
        lastWindow = max(lastWindow, window)
    }
}
