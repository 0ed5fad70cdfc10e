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
    /// The series whose cells pass.
    private(set) var partition = PartitionID(0)
    private(set) var key = KeyBuffer(capacity: Limits.keyMax)
    private(set) var type = KeyBuffer(capacity: Limits.typeMax)
    private var keyTerms: SipKey
    /// For which of the keys `keyTerms` are.
    private var termsKeys: UInt64 = 0
    private(set) var terms: DayTerms?
    /// The cells of one series and day share a term: they are added up before it is.
    private var run = Measure.zero
    private var runCells: UInt64 = 0
    private var day: Int64 = 0
    private var dayWindows: ClosedRange<Int64>
    private var bounds = TableBoundsBuilder()
    private let digestKey: SipKey
    private let buckets: TimeBuckets
    private let granularity: Granularity

    /// - Parameter granularity: of `windows`: what a merge of cells into hours or days is held
    ///   against. Everything else is of the cells as they come.
    init(options: StorageOptions, windowsBy granularity: Granularity = .base) {
        self.granularity = granularity
        digestKey = options.digestKey
        keyTerms = options.digestKey
        buckets = options.buckets
        dayWindows = buckets.windows(ofDay: 0)
    }

    /// What each partition holds, ascending.
    var partitions: [TablePartition] {
        var closed = self
        closed.closeRun()
        return closed.sums
    }

    /// Of the blocks that ended.
    var foundBounds: TableBounds { bounds.found }

    /// What begins with a part of a series.
    enum Beginning {
        /// It goes on.
        case nothing
        case series
        case key
    }

    /// Before the cells of a series, or of a part of one: parts of the same series follow one
    /// another.
    ///
    /// - Parameter known: the terms, where they were found for this series already: they are most
    ///   of what a short series costs. Who reads a file back to believe it finds its own.
    @discardableResult
    mutating func begin(
        _ partition: PartitionID, key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer,
        known: DayTerms? = nil
    ) -> Beginning {
        let isNewPartition = sums.isEmpty || self.partition != partition
        let isNewKey = isNewPartition || !ByteOrder.areEqual(self.key.bytes, key)
        guard isNewKey || !ByteOrder.areEqual(self.type.bytes, type) else { return .nothing }
        closeRun()
        bounds.begin(isNewKey: isNewKey, type: type)
        if isNewPartition {
            self.partition = partition
            sums.append(
                TablePartition(partition: partition, cells: 0, total: .zero, digest: .zero))
        }
        if isNewKey {
            keys += 1
            widen(to: key)
            self.key.set(key)
        }
        series += 1
        self.type.set(type)
        if let known {
            terms = known
        } else {
            if termsKeys != keys {
                keyTerms = SeriesTerms.ofKey(key, digestKey: digestKey)
                termsKeys = keys
            }
            terms = DayTerms(SeriesTerms(type: type, ofKey: keyTerms), day: day)
        }
        return isNewKey ? .key : .series
    }

    private mutating func widen(to key: UnsafeRawBufferPointer) {
        func order(_ other: [UInt8]) -> Int {
            other.withUnsafeBytes { ByteOrder.compare(key, $0) }
        }
        if firstKey.map({ order($0) < 0 }) ?? true { firstKey = Array(key) }
        if lastKey.map({ order($0) > 0 }) ?? true { lastKey = Array(key) }
    }

    mutating func add(window: Int64, _ measure: Measure) {
        guard let terms, !sums.isEmpty else {
            preconditionFailure("a cell came before its series")
        }
        if !dayWindows.contains(window) {
            closeRun()
            day = buckets.day(of: window)
            dayWindows = buckets.windows(ofDay: day)
        }
        run.add(measure)
        bounds.add(measure)
        runCells += 1
        checksum.add(terms.terms, window: window, measure)
        windows.add(terms.terms, window: buckets.start(of: window, granularity), measure)
        firstWindow = min(firstWindow, window)
        lastWindow = max(lastWindow, window)
    }

    /// The next cell lies in another block.
    mutating func endBlock() {
        bounds.endBlock()
    }

    private mutating func closeRun() {
        guard runCells > 0, let terms else { return }
        let last = sums.count - 1
        sums[last].cells += runCells
        sums[last].total.add(run)
        sums[last].digest.add(run, term: terms.term(of: day))
        run = .zero
        runCells = 0
    }
}

/// What the digests need of a series, and its term of the day that is most likely asked for.
struct DayTerms: Sendable {
    let terms: SeriesTerms
    private let day: Int64
    private let term: UInt128

    init(_ terms: SeriesTerms, day: Int64) {
        self.init(terms, day: day, term: terms.term(day: day))
    }

    init(_ terms: SeriesTerms, day: Int64, term: UInt128) {
        self.terms = terms
        self.day = day
        self.term = term
    }

    func term(of day: Int64) -> UInt128 {
        day == self.day ? term : terms.term(day: day)
    }
}
