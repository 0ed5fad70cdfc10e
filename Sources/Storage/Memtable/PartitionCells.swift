import Core
import Wire

/// The cells of one partition in a memtable, live or frozen.
///
/// Keys and types are interned in one arena. A key lists its series, a series lists its cells; both
/// lists are chains of indexes into flat arrays, so that adding a cell allocates nothing but an
/// array's growth. Two hash indexes find a key by its bytes and a cell by (series, window); a
/// series is found by its key's latest series first and else by a third index. The term of the
/// state digest is kept with the series, for its latest day, so that an event costs a
/// multiplication and an addition.
///
/// Slices wait in `pending` until there are enough of them, and are then added together: what one
/// partition holds fits into a processor's own cache, and what all hold does not, so that adding
/// cells to one partition after the other, as batches bring them, would wait for memory at each
/// step. Questions read what waits as it stands.
struct PartitionCells: Sendable {
    /// The end of a chain, and no values.
    static let none = UInt32.max

    struct Key: Sendable {
        var offset: Int
        var firstSeries: UInt32
        var length: UInt16
    }

    struct Series: Sendable {
        var terms: SeriesTerms
        var key: UInt32
        var type: UInt32
        var nextOfKey: UInt32
        /// The cell that was made last: the head of the chain.
        var lastMade: UInt32
        /// The cell that was touched last: most slices hit it again.
        var lastTouched: UInt32
        /// The window of that cell.
        var lastWindow: Int64
        /// A day and its term, which the next cell most likely shares.
        var day: DayTerm
    }

    /// The term of the state digest for all cells of one series and day.
    struct DayTerm: Sendable {
        var day: Int64
        var term: UInt128
        var windows: ClosedRange<Int64>
    }

    struct Cell: Sendable {
        var window: Int64
        var count: UInt64
        var values: UInt32
        var next: UInt32
        var series: UInt32
    }

    struct TypeName: Sendable {
        var offset: Int
        var length: Int
    }

    let rules: CellRules
    var arena: [UInt8] = []
    var types: [TypeName] = []
    var keys: [Key] = []
    var series: [Series] = []
    var cells: [Cell] = []
    var values: [Measure.Values] = []
    /// Of `cells`; kept with every cell that is added.
    private(set) var sum = PartitionSum.zero
    /// Valid slices, one behind the other, which is again a valid slice.
    private(set) var pending: [UInt8] = []
    private(set) var pendingCells = 0
    /// At so many bytes what waits is added.
    private var settleAt: Int
    private var typeIndex = HashIndex()
    private var keyIndex = HashIndex()
    private var seriesIndex = HashIndex()
    private var cellIndex = HashIndex()

    /// What to make room for when the first cells are added: growing step by step would copy all
    /// of it several times, and all partitions of a memtable grow together.
    private let expected: Counts

    /// How many there are of what grows.
    struct Counts: Sendable {
        var arena = 0
        var keys = 0
        var series = 0
        var cells = 0
    }

    /// - Parameters:
    ///   - firstAt: at how many bytes what waits is added for the first time.
    ///   - expected: what it will hold, more or less, when it is full.
    init(_ rules: CellRules, firstAt: Int, expected: Counts = Counts()) {
        self.rules = rules
        self.expected = expected
        settleAt = firstAt
    }

    var counts: Counts {
        Counts(
            arena: arena.count, keys: keys.count, series: series.count, cells: cells.count)
    }

    var size: CellsSize {
        CellsSize(
            cells: cells.count + pendingCells,
            bytes: pending.count + arena.count + keys.count * MemoryLayout<Key>.stride
                + series.count * MemoryLayout<Series>.stride
                + cells.count * MemoryLayout<Cell>.stride
                + values.count * MemoryLayout<Measure.Values>.stride
                + keyIndex.byteCount + seriesIndex.byteCount + cellIndex.byteCount)
    }

    // MARK: Adding

    /// Adds all cells of a slice or, if it is malformed, none; by how much the size grows.
    mutating func add(_ bytes: UnsafeRawBufferPointer) throws(SliceError) -> CellsSize {
        let added = try SliceReader.validate(bytes, windows: rules.windows)
        pending.append(contentsOf: bytes)
        pendingCells += added
        var growth = CellsSize(cells: added, bytes: bytes.count)
        if pending.count >= settleAt || pendingCells >= StorageLimits.pendingCellsMax {
            let before = size
            settle()
            growth.replace(before, by: size)
        }
        return growth
    }

    /// Adds what waits.
    mutating func settle() {
        guard !pending.isEmpty else { return }
        var slices: [UInt8] = []
        swap(&slices, &pending)
        slices.withUnsafeBytes { settle($0) }
        slices.removeAll(keepingCapacity: true)
        swap(&slices, &pending)
        pendingCells = 0
        settleAt = rules.pendingMax
    }

    private mutating func reserve() {
        arena.reserveCapacity(expected.arena)
        keys.reserveCapacity(expected.keys)
        series.reserveCapacity(expected.series)
        cells.reserveCapacity(expected.cells)
        keyIndex.reserve(expected.keys)
        seriesIndex.reserve(expected.series)
        cellIndex.reserve(expected.cells)
    }

    private mutating func settle(_ bytes: UnsafeRawBufferPointer) {
        if cells.isEmpty { reserve() }
        if heldBytes < 8 * bytes.count { touch() }
        var reader = SliceReader(bytes, windows: rules.windows)
        var current = 0
        var type: (name: UnsafeRawBufferPointer, index: Int)?
        var added = PartitionSum.zero
        while let cell = Self.next(&reader) {
            if cell.startsSeries {
                // Mostly all series of a load have few types.
                let known: Int
                if let type, ByteOrder.areEqual(type.name, cell.type) {
                    known = type.index
                } else {
                    known = intern(type: cell.type)
                    type = (cell.type, known)
                }
                current = intern(intern(key: cell.key), key: cell.key, known, at: cell.window)
            }
            add(cell.measure, window: cell.window, to: current)
            added.add(cell.measure, term: term(of: cell.window, current))
        }
        sum.merge(added)
    }

    /// What the search for keys and series looks at.
    private var heldBytes: Int {
        arena.count + keys.count * MemoryLayout<Key>.stride
            + series.count * MemoryLayout<Series>.stride + keyIndex.byteCount
    }

    /// Reads it from the first to the last byte, as fast as memory gives it, so that the search
    /// need not wait for it piece by piece.
    private func touch() {
        var mixed = arena.withUnsafeBytes(Self.touched)
        mixed ^= keys.withUnsafeBytes(Self.touched)
        mixed ^= series.withUnsafeBytes(Self.touched)
        mixed ^= keyIndex.withUnsafeBytes(Self.touched)
        withExtendedLifetime(mixed) {}
    }

    @inline(never)
    private static func touched(_ bytes: UnsafeRawBufferPointer) -> UInt8 {
        var mixed: UInt8 = 0
        for offset in stride(from: 0, to: bytes.count, by: 64) { mixed ^= bytes[offset] }
        return mixed
    }

    /// Of slices that were validated.
    static func next(_ reader: inout SliceReader) -> SliceCell? {
        do throws(SliceError) {
            return try reader.next()
        } catch {
            preconditionFailure("a slice that was valid is not: \(error)")
        }
    }

    mutating func insert(key: [UInt8], type: [UInt8], window: Int64, _ measure: Measure) {
        let current = key.withUnsafeBytes { key in
            intern(
                intern(key: key), key: key, type.withUnsafeBytes { intern(type: $0) }, at: window)
        }
        add(measure, window: window, to: current)
        sum.add(measure, term: term(of: window, current))
    }

    /// The term of a series and the day of a window.
    private mutating func term(of window: Int64, _ current: Int) -> UInt128 {
        if series[current].day.windows.contains(window) { return series[current].day.term }
        let day = dayTerm(of: window, series[current].terms)
        series[current].day = day
        return day.term
    }

    func dayTerm(of window: Int64, _ terms: SeriesTerms) -> DayTerm {
        let day = rules.buckets.day(of: window)
        return DayTerm(
            day: day, term: terms.term(day: day), windows: rules.buckets.windows(ofDay: day))
    }

    private mutating func add(_ measure: Measure, window: Int64, to current: Int) {
        let cell = slot(window: window, of: current)
        cells[cell].count += measure.count
        if let added = measure.values {
            let slot = cells[cell].values
            if slot == Self.none {
                cells[cell].values = UInt32(values.count)
                values.append(added)
            } else {
                let mine = values[Int(slot)]
                values[Int(slot)] = Measure.Values(
                    count: mine.count + added.count, sum: mine.sum + added.sum,
                    min: min(mine.min, added.min), max: max(mine.max, added.max))
            }
        }
    }

    private mutating func slot(window: Int64, of current: Int) -> Int {
        if series[current].lastWindow == window, series[current].lastTouched != Self.none {
            return Int(series[current].lastTouched)
        }
        let hash = TableHash.hash(
            UInt64(current), UInt64(bitPattern: window), seed: rules.seed)
        let found = cellIndex.find(hash) {
            cells[$0].window == window && Int(cells[$0].series) == current
        }
        series[current].lastWindow = window
        if let found {
            series[current].lastTouched = UInt32(found)
            return found
        }
        let cell = cells.count
        cells.append(
            Cell(
                window: window, count: 0, values: Self.none, next: series[current].lastMade,
                series: UInt32(current)))
        series[current].lastMade = UInt32(cell)
        series[current].lastTouched = UInt32(cell)
        cellIndex.insert(hash, cell)
        return cell
    }

    // MARK: Interning

    /// The series of a key and a type; a new one begins with a cell of `window`.
    private mutating func intern(
        _ owner: Int, key: UnsafeRawBufferPointer, _ type: Int, at window: Int64
    ) -> Int {
        let first = keys[owner].firstSeries
        if first != Self.none, Int(series[Int(first)].type) == type { return Int(first) }
        let hash = TableHash.hash(UInt64(owner), UInt64(type), seed: rules.seed)
        let found = series.withUnsafeBufferPointer { series in
            seriesIndex.find(hash) {
                Int(series[$0].key) == owner && Int(series[$0].type) == type
            }
        }
        return found ?? makeSeries(owner, key: key, type, hash, at: window)
    }

    private mutating func makeSeries(
        _ owner: Int, key: UnsafeRawBufferPointer, _ type: Int, _ hash: UInt64, at window: Int64
    ) -> Int {
        // What the closure needs by itself: one over the store would copy all of it.
        let name = types[type]
        let digestKey = rules.digestKey
        let terms = arena.withUnsafeBytes { arena in
            SeriesTerms(
                key: key,
                type: UnsafeRawBufferPointer(
                    rebasing: arena[name.offset..<name.offset + name.length]),
                digestKey: digestKey)
        }
        series.append(
            Series(
                terms: terms, key: UInt32(owner), type: UInt32(type),
                nextOfKey: keys[owner].firstSeries, lastMade: Self.none, lastTouched: Self.none,
                lastWindow: 0, day: dayTerm(of: window, terms)))
        keys[owner].firstSeries = UInt32(series.count - 1)
        seriesIndex.insert(hash, series.count - 1)
        return series.count - 1
    }

    private mutating func intern(type: UnsafeRawBufferPointer) -> Int {
        let hash = TableHash.hash(type, seed: rules.seed)
        let found = typeIndex.find(hash) { place in
            withBytes(types[place].offset, types[place].length) { ByteOrder.areEqual($0, type) }
        }
        if let found { return found }
        types.append(TypeName(offset: arena.count, length: type.count))
        arena.append(contentsOf: type)
        typeIndex.insert(hash, types.count - 1)
        return types.count - 1
    }

    private mutating func intern(key: UnsafeRawBufferPointer) -> Int {
        let hash = TableHash.hash(key, seed: rules.seed)
        if let found = find(key, hash) { return found }
        keys.append(
            Key(offset: arena.count, firstSeries: Self.none, length: UInt16(key.count)))
        arena.append(contentsOf: key)
        keyIndex.insert(hash, keys.count - 1)
        return keys.count - 1
    }

    private func find(_ key: UnsafeRawBufferPointer, _ hash: UInt64) -> Int? {
        arena.withUnsafeBytes { arena in
            keyIndex.find(hash) { candidate in
                let held = keys[candidate]
                return ByteOrder.areEqual(
                    UnsafeRawBufferPointer(
                        rebasing: arena[held.offset..<held.offset + Int(held.length)]), key)
            }
        }
    }

    // MARK: Looking up

    func find(key: [UInt8]) -> Int? {
        key.withUnsafeBytes { find($0, TableHash.hash($0, seed: rules.seed)) }
    }

    func withBytes<Result>(
        _ offset: Int, _ length: Int, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        arena.withUnsafeBytes {
            body(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + length]))
        }
    }

    func typeBytes(_ type: UInt32) -> [UInt8] {
        let name = types[Int(type)]
        return Array(arena[name.offset..<name.offset + name.length])
    }

    func measure(_ cell: Cell) -> Measure {
        Measure(
            count: cell.count, values: cell.values == Self.none ? nil : values[Int(cell.values)])
    }
}

/// What is the same for all partitions of a memtable.
struct CellRules: Sendable {
    let buckets: TimeBuckets
    let digestKey: SipKey
    let seed: UInt64
    /// All that a slice may name.
    let windows: ClosedRange<Int64>
    /// So many bytes of slices wait at most in one partition.
    let pendingMax: Int

    init(digestKey: SipKey, buckets: TimeBuckets, pendingMax: Int) {
        self.buckets = buckets
        self.digestKey = digestKey
        self.pendingMax = pendingMax
        windows = SliceReader.windows(of: buckets.window)
        seed = digestKey.low ^ 0x6d65_6d74_6162_6c65
    }
}

struct CellsSize: Hashable, Sendable {
    /// At most: what waits may turn out to be of cells that are there.
    var cells = 0
    /// About the memory held.
    var bytes = 0

    mutating func merge(_ other: CellsSize) {
        cells += other.cells
        bytes += other.bytes
    }

    mutating func replace(_ old: CellsSize, by new: CellsSize) {
        cells += new.cells - old.cells
        bytes += new.bytes - old.bytes
    }
}
