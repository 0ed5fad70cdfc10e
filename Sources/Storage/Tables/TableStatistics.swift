import Core

/// Adds up the cells of a table as they pass in order: the same type when they are written, when
/// they are read back before the file counts, and when the scrubber looks again.
struct TableStatistics: Sendable {
    private(set) var series: UInt64 = 0
    private(set) var keys: UInt64 = 0
    private(set) var checksum = CellChecksum()
    private(set) var windows = WindowDigest()
    private(set) var firstWindow = Int64.max
    private(set) var lastWindow = Int64.min
    private(set) var firstKey: [UInt8]?
    private(set) var lastKey: [UInt8]?
    private var sums: [TablePartition] = []
    private var key: [UInt8] = []
    private var type: [UInt8] = []
    private var keyTerms: SipKey
    private var terms: SeriesTerms?
    /// The cells of one series and day share a term: they are added up before it is.
    private var run = Measure.zero
    private var runCells: UInt64 = 0
    private var day: Int64 = 0
    private var dayWindows: ClosedRange<Int64>?
    private let digestKey: SipKey
    private let buckets: TimeBuckets

    init(options: StorageOptions) {
        digestKey = options.digestKey
        keyTerms = options.digestKey
        buckets = options.buckets
    }

    /// What each partition holds, ascending.
    var partitions: [TablePartition] {
        var closed = self
        closed.closeRun()
        return closed.sums
    }

    /// Before the cells of a series, or of a part of one: parts of the same series follow one
    /// another. True where it is the first of its key.
    @discardableResult
    mutating func begin(_ partition: PartitionID, key: [UInt8], type: [UInt8]) -> Bool {
        let isNewPartition = sums.last?.partition != partition
        let isNewKey = isNewPartition || key != self.key
        guard isNewKey || type != self.type || terms == nil else { return false }
        closeRun()
        if isNewPartition {
            sums.append(
                TablePartition(partition: partition, cells: 0, total: .zero, digest: .zero))
        }
        if isNewKey {
            keys += 1
            if firstKey.map({ ByteOrder.compare(key, $0) < 0 }) ?? true { firstKey = key }
            if lastKey.map({ ByteOrder.compare(key, $0) > 0 }) ?? true { lastKey = key }
        }
        series += 1
        self.key = key
        self.type = type
        if isNewKey {
            keyTerms = key.withUnsafeBytes { SeriesTerms.ofKey($0, digestKey: digestKey) }
        }
        terms = type.withUnsafeBytes { SeriesTerms(type: $0, ofKey: keyTerms) }
        return isNewKey
    }

    mutating func add(window: Int64, _ measure: Measure) {
        guard let terms, !sums.isEmpty else {
            preconditionFailure("a cell came before its series")
        }
        if dayWindows.map({ !$0.contains(window) }) ?? true {
            closeRun()
            day = buckets.day(of: window)
            dayWindows = buckets.windows(ofDay: day)
        }
        run.add(measure)
        runCells += 1
        checksum.add(terms, window: window, measure)
        windows.add(terms, window: window, measure)
        firstWindow = min(firstWindow, window)
        lastWindow = max(lastWindow, window)
    }

    private mutating func closeRun() {
        guard runCells > 0, let terms else { return }
        let last = sums.count - 1
        sums[last].cells += runCells
        sums[last].total.add(run)
        sums[last].digest.add(run, term: terms.term(day: day))
        run = .zero
        runCells = 0
    }
}
