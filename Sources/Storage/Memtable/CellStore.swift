import Core
import Wire

/// The cells of a memtable, live or frozen.
///
/// Keys and types are interned in one arena. A key lists its series, a series lists its cells; both
/// lists are chains of indexes into flat arrays, so that adding a cell allocates nothing but an
/// array's growth. Two hash indexes find a key by its bytes and a cell by (series, window); a
/// series is found by its key's latest series first and else by a third index. The term of the
/// state digest is kept in each cell, so that an event costs a multiplication and an addition.
struct CellStore: Sendable {
    /// The end of a chain, and no values.
    static let none = UInt32.max

    struct Key: Sendable {
        var offset: Int
        var length: UInt16
        var partition: UInt16
        var firstSeries: UInt32
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
        /// The latest day and its term, which the next cell most likely shares.
        var term: UInt128
        var day: Int64?
    }

    struct Cell: Sendable {
        /// Of the state digest: the same for all cells of one series and day.
        var term: UInt128
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

    let buckets: TimeBuckets
    let digestKey: SipKey
    let seed: UInt64
    var arena: [UInt8] = []
    var types: [TypeName] = []
    var keys: [Key] = []
    var series: [Series] = []
    var cells: [Cell] = []
    var values: [Measure.Values] = []
    /// Kept with every slice that is added: what an audit compares.
    var sums: [PartitionSum]
    private var typeIndex = HashIndex()
    private var keyIndex: HashIndex
    private var seriesIndex: HashIndex
    private var cellIndex: HashIndex
    private var lastType = 0
    /// The series of the slice that is being added; kept for its capacity alone.
    private var arrivals: [Arrival] = []

    /// `room`: what most likely comes. Arrays of that size never grow, which would take as long as
    /// adding some ten thousand cells, and all at once.
    init(
        partitions: Int, digestKey: SipKey, buckets: TimeBuckets,
        room: MemtableSize = MemtableSize()
    ) {
        precondition(
            partitions > 0 && partitions <= Limits.partitionsMax, "\(partitions) partitions")
        self.buckets = buckets
        self.digestKey = digestKey
        seed = digestKey.low ^ 0x6d65_6d74_6162_6c65
        sums = Array(repeating: .zero, count: partitions)
        keyIndex = HashIndex(room: room.keys)
        seriesIndex = HashIndex(room: room.series)
        cellIndex = HashIndex(room: room.cells)
        arena.reserveCapacity(room.textBytes)
        keys.reserveCapacity(room.keys)
        series.reserveCapacity(room.series)
        cells.reserveCapacity(room.cells)
        values.reserveCapacity(room.values)
    }

    var size: MemtableSize {
        MemtableSize(
            keys: keys.count, series: series.count, cells: cells.count, values: values.count,
            textBytes: arena.count)
    }

    /// About the memory held.
    var byteCount: Int {
        arena.count + keys.count * MemoryLayout<Key>.stride
            + series.count * MemoryLayout<Series>.stride + cells.count * MemoryLayout<Cell>.stride
            + values.count * MemoryLayout<Measure.Values>.stride
            + keyIndex.byteCount + seriesIndex.byteCount + cellIndex.byteCount
    }

    // MARK: Adding

    /// Adds all cells of a slice or, if it is malformed, none.
    mutating func add(
        _ bytes: UnsafeRawBufferPointer, partition: PartitionID
    ) throws(SliceError) {
        try validate(bytes, partition)
        fetch(bytes)
        var reader = SliceReader(bytes, length: buckets.window)
        var current = 0
        var sum = PartitionSum.zero
        var arrived = arrivals.makeIterator()
        do throws(SliceError) {
            while let cell = try reader.next() {
                if cell.startsSeries, let arrival = arrived.next() {
                    current = intern(partition, arrival, key: cell.key, type: cell.type)
                }
                let term = add(cell.measure, window: cell.window, to: current)
                sum.add(cell.measure, term: term)
            }
        } catch {
            preconditionFailure("a slice that was valid is not: \(error)")
        }
        sums[Int(partition.index)].merge(sum)
    }

    /// One series of a slice, and what is known of it here.
    private struct Arrival {
        var offset: Int
        var hash: UInt64
        var window: Int64
        var length: UInt16
        /// An index of `keys`, if its bytes are those of this one.
        var key = CellStore.none
        var series = CellStore.none
        var cell = CellStore.none
    }

    private mutating func validate(
        _ bytes: UnsafeRawBufferPointer, _ partition: PartitionID
    ) throws(SliceError) {
        var reader = SliceReader(bytes, length: buckets.window)
        arrivals.removeAll(keepingCapacity: true)
        while let cell = try reader.next() {
            guard cell.startsSeries, let key = cell.key.baseAddress, let start = bytes.baseAddress
            else { continue }
            arrivals.append(
                Arrival(
                    offset: key - start, hash: keyHash(partition, cell.key), window: cell.window,
                    length: UInt16(cell.key.count)))
        }
    }

    /// Touches what adding the arrivals will need: one access to memory in each loop, so that the
    /// processor waits for many at once. Nearly all of a large store is in no cache, and waiting
    /// for one access after the other is what adding would cost. Guesses that are wrong only
    /// fetched in vain.
    private mutating func fetch(_ bytes: UnsafeRawBufferPointer) {
        var list: [Arrival] = []
        swap(&list, &arrivals)
        list.withUnsafeMutableBufferPointer { fetch(&$0, bytes) }
        swap(&list, &arrivals)
    }

    private func fetch(
        _ list: inout UnsafeMutableBufferPointer<Arrival>, _ bytes: UnsafeRawBufferPointer
    ) {
        for place in list.indices {
            list[place].key = keyIndex.guess(list[place].hash).map { UInt32($0) } ?? Self.none
        }
        for place in list.indices where list[place].key != Self.none {
            list[place].series = keys[Int(list[place].key)].firstSeries
        }
        arena.withUnsafeBytes { arena in
            for place in list.indices where list[place].key != Self.none {
                let held = keys[Int(list[place].key)]
                let mine = arena[held.offset..<held.offset + Int(held.length)]
                let start = list[place].offset
                let other = bytes[start..<start + Int(list[place].length)]
                let isSame = ByteOrder.areEqual(
                    UnsafeRawBufferPointer(rebasing: mine),
                    UnsafeRawBufferPointer(rebasing: other))
                if !isSame { list[place].key = Self.none }
            }
        }
        for place in list.indices where list[place].series != Self.none {
            list[place].cell = series[Int(list[place].series)].lastTouched
        }
        for place in list.indices where list[place].cell != Self.none {
            let arrival = list[place]
            if cells[Int(arrival.cell)].window == arrival.window { continue }
            let hash = cellHash(arrival.window, of: Int(arrival.series))
            list[place].cell = cellIndex.guess(hash).map { UInt32($0) } ?? Self.none
        }
        for place in list.indices where list[place].cell != Self.none {
            // Stored, so that the access is not optimized away.
            list[place].window = cells[Int(list[place].cell)].window
        }
    }

    mutating func insert(
        _ partition: PartitionID, key: [UInt8], type: [UInt8], window: Int64, _ measure: Measure
    ) {
        let current = key.withUnsafeBytes { key in
            type.withUnsafeBytes { type in
                intern(intern(partition, key: key, keyHash(partition, key)), key: key, type: type)
            }
        }
        let term = add(measure, window: window, to: current)
        sums[Int(partition.index)].add(measure, term: term)
    }

    /// Adds to one cell; the term of its (series, day).
    private mutating func add(_ measure: Measure, window: Int64, to current: Int) -> UInt128 {
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
        return cells[cell].term
    }

    private mutating func slot(window: Int64, of current: Int) -> Int {
        let touched = series[current].lastTouched
        if touched != Self.none, cells[Int(touched)].window == window { return Int(touched) }
        let hash = cellHash(window, of: current)
        let found = cellIndex.find(hash) {
            cells[$0].window == window && Int(cells[$0].series) == current
        }
        if let found {
            series[current].lastTouched = UInt32(found)
            return found
        }
        let day = buckets.day(of: window)
        if series[current].day != day {
            series[current].day = day
            series[current].term = series[current].terms.term(day: day)
        }
        let cell = cells.count
        cells.append(
            Cell(
                term: series[current].term, window: window, count: 0, values: Self.none,
                next: series[current].lastMade, series: UInt32(current)))
        series[current].lastMade = UInt32(cell)
        series[current].lastTouched = UInt32(cell)
        cellIndex.insert(hash, cell)
        return cell
    }

    // MARK: Interning

    private func cellHash(_ window: Int64, of series: Int) -> UInt64 {
        TableHash.hash(UInt64(series), UInt64(bitPattern: window), seed: seed)
    }

    private mutating func intern(
        _ partition: PartitionID, _ arrival: Arrival, key: UnsafeRawBufferPointer,
        type: UnsafeRawBufferPointer
    ) -> Int {
        let known = arrival.key
        if known != Self.none, keys[Int(known)].partition == partition.index {
            return intern(Int(known), key: key, type: type)
        }
        return intern(intern(partition, key: key, arrival.hash), key: key, type: type)
    }

    /// The series of a key and a type.
    private mutating func intern(
        _ owner: Int, key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer
    ) -> Int {
        let type = intern(type: type)
        let first = keys[owner].firstSeries
        if first != Self.none, Int(series[Int(first)].type) == type { return Int(first) }
        let hash = TableHash.hash(UInt64(owner), UInt64(type), seed: seed)
        if let found = findSeries(hash, owner, type) { return found }
        let terms = withBytes(types[type].offset, types[type].length) { typeBytes in
            SeriesTerms(key: key, type: typeBytes, digestKey: digestKey)
        }
        series.append(
            Series(
                terms: terms, key: UInt32(owner), type: UInt32(type), nextOfKey: first,
                lastMade: Self.none, lastTouched: Self.none, term: 0, day: nil))
        keys[owner].firstSeries = UInt32(series.count - 1)
        seriesIndex.insert(hash, series.count - 1)
        return series.count - 1
    }

    private func findSeries(_ hash: UInt64, _ key: Int, _ type: Int) -> Int? {
        seriesIndex.find(hash) { Int(series[$0].key) == key && Int(series[$0].type) == type }
    }

    private mutating func intern(type: UnsafeRawBufferPointer) -> Int {
        if lastType < types.count, isType(lastType, type) { return lastType }
        let hash = TableHash.hash(type, seed: seed)
        if let found = typeIndex.find(hash, { isType($0, type) }) {
            lastType = found
            return found
        }
        types.append(TypeName(offset: arena.count, length: type.count))
        arena.append(contentsOf: type)
        lastType = types.count - 1
        typeIndex.insert(hash, lastType)
        return lastType
    }

    private mutating func intern(
        _ partition: PartitionID, key: UnsafeRawBufferPointer, _ hash: UInt64
    ) -> Int {
        if let found = findKey(hash, partition, key) { return found }
        keys.append(
            Key(
                offset: arena.count, length: UInt16(key.count), partition: partition.index,
                firstSeries: Self.none))
        arena.append(contentsOf: key)
        keyIndex.insert(hash, keys.count - 1)
        return keys.count - 1
    }

    private func keyHash(_ partition: PartitionID, _ key: UnsafeRawBufferPointer) -> UInt64 {
        TableHash.hash(key, seed: seed ^ UInt64(partition.index) << 48)
    }

    private func findKey(
        _ hash: UInt64, _ partition: PartitionID, _ key: UnsafeRawBufferPointer
    ) -> Int? {
        arena.withUnsafeBytes { arena in
            keyIndex.find(hash) { candidate in
                let held = keys[candidate]
                let end = held.offset + Int(held.length)
                return held.partition == partition.index
                    && ByteOrder.areEqual(
                        UnsafeRawBufferPointer(rebasing: arena[held.offset..<end]), key)
            }
        }
    }

    private func isType(_ index: Int, _ type: UnsafeRawBufferPointer) -> Bool {
        withBytes(types[index].offset, types[index].length) { ByteOrder.areEqual($0, type) }
    }

    // MARK: Looking up

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

    func find(_ partition: PartitionID, key: [UInt8]) -> Int? {
        key.withUnsafeBytes { findKey(keyHash(partition, $0), partition, $0) }
    }
}
