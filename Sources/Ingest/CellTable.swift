import Core
import Wire

/// The cells of one batch, in the order of their first appearance.
///
/// Two open-addressing tables with linear probing, at most half full. A slot holds some bits of the
/// hash and the number of its entry plus one, so that a probe leaves the slot only for a likely
/// hit: ten bits in the first table, so that the slots of most batches stay in the nearest cache.
///
/// An event that meets the latest cell of a series touches a slot and the series, one cache line:
/// the ends of the key stand in it, and the count is kept there until the series turns to another
/// cell. A series has no cells in memory before it turns or an event carries a value. Those that it
/// has are a list. It is walked while it is short, and not even that for a window beyond all before
/// it, as events in the order of time bring them; the cells of longer lists are in the second
/// table.
struct CellTable: ~Copyable {
    /// 64 bytes: see `GrowableBuffer`.
    struct Series: BitwiseCopyable {
        var hash: UInt64
        /// Of the key; with its count they are all of most keys.
        var ends: ByteScan.Ends
        /// The window and number of the cell that was met last, and the events since then, which
        /// the cell does not have yet.
        var latestWindow: Int64
        var latest = CellTable.none
        var pending: UInt32 = 0
        /// `none` while the only cell is not in memory, like `latest`.
        var first = CellTable.none
        var last = CellTable.none
        /// How many, and the two marks.
        private var cells: UInt32 = 1
        /// In the arena.
        var keyStart: UInt32
        var type: UInt32
        var keyCount: UInt16
        var partition: UInt16 = 0

        private static let unordered: UInt32 = 1 << 31
        private static let indexed: UInt32 = 1 << 30

        /// A series of one cell.
        init(
            hash: UInt64, ends: ByteScan.Ends, keyStart: UInt32, keyCount: UInt16, type: UInt32,
            window: Int64
        ) {
            self.hash = hash
            self.ends = ends
            latestWindow = window
            self.keyStart = keyStart
            self.type = type
            self.keyCount = keyCount
        }

        /// At most `FoldBounds.cellsMax` of them, far below the marks.
        var cellCount: Int { Int(cells & (Series.indexed - 1)) }

        mutating func addCell() { cells += 1 }

        /// No cell's window lies below that of one before it.
        var isOrdered: Bool { cells & Series.unordered == 0 }

        mutating func loseOrder() { cells |= Series.unordered }

        /// Its cells are in the second table.
        var isIndexed: Bool { cells & Series.indexed != 0 }

        mutating func markIndexed() { cells |= Series.indexed }

        /// The same key and type without any cell.
        func emptied() -> Series {
            var series = self
            series.cells = 0
            series.pending = 0
            series.first = CellTable.none
            series.last = CellTable.none
            series.latest = CellTable.none
            return series
        }
    }

    struct Cell: BitwiseCopyable {
        var window: Int64
        var count: UInt32
        var series: UInt32
        /// The next cell of the same series; `none` at the end.
        var next: UInt32
        /// Where the cell's values are: one in `firsts`, with the mark `single`, more in `values`;
        /// `none` while no event carried one.
        var values: UInt32
    }

    /// `Measure.Values` as it grows, from the second value on.
    struct Values: BitwiseCopyable {
        var sum: Int128
        var min: Int64
        var max: Int64
        var count: UInt32

        var measure: Measure.Values {
            Measure.Values(count: UInt64(count), sum: sum, min: min, max: max)
        }
    }

    static let none = UInt32.max
    /// At most `FoldBounds.cellsMax` values are first ones, far below the mark.
    private static let single: UInt32 = 1 << 31
    /// The greatest number of a series, plus one: a slot has so many bits for it.
    static let numberMax: UInt32 = 1 << 22 - 1
    private static let slotsMin = 1 << 10
    /// Days of one series whose places are remembered; others are looked up again.
    private static let daysKept = 256
    /// Longer lists of cells are looked up in the second table.
    private static let walkMax = 8
    /// Memory beyond this many cells is given back after a batch.
    private static let cellsKept = 1 << 18
    private static let arenaKept = 1 << 23

    private let seed: UInt64
    private var types: TypeTable
    private var entries = GrowableBuffer<Series>(capacity: 1 << 10)
    private var cells = GrowableBuffer<Cell>(capacity: 1 << 10)
    private var firsts = GrowableBuffer<Int64>()
    private var values = GrowableBuffer<Values>()
    private var arena = GrowableBuffer<UInt8>(capacity: 1 << 14)
    private var seriesSlots = GrowableBuffer<UInt32>(capacity: slotsMin)
    private var cellSlots = GrowableBuffer<UInt64>(capacity: slotsMin)
    private var order = GrowableBuffer<UInt32>()
    /// Of all series, in memory or not.
    private(set) var cellCount = 0
    /// How many cells are in the second table.
    private var indexedCells = 0

    init(seed: UInt64) {
        self.seed = seed
        types = TypeTable(seed: seed)
    }

    /// Empties the table for the next batch, with slots for as many series as the last one had.
    mutating func reset() {
        let slots = max(CellTable.slotsMin, CellTable.power(above: entries.count &* 2))
        let further = max(CellTable.slotsMin, CellTable.power(above: indexedCells &* 2))
        giveBack()
        let isLarge = max(slots, further) > CellTable.cellsKept * 2
        seriesSlots.refill(0, count: isLarge ? CellTable.slotsMin : slots)
        cellSlots.refill(0, count: isLarge ? CellTable.slotsMin : further)
        types.reset()
        entries.removeAll()
        cells.removeAll()
        firsts.removeAll()
        values.removeAll()
        arena.removeAll()
        order.removeAll()
        cellCount = 0
        indexedCells = 0
    }

    /// What one large batch needed and the next will not: its cells are gone afterwards.
    private mutating func giveBack() {
        if cellCount > CellTable.cellsKept {
            entries.shrink(to: CellTable.slotsMin)
            cells.shrink(to: CellTable.slotsMin)
            firsts.shrink(to: CellTable.slotsMin)
            values.shrink(to: CellTable.slotsMin)
            seriesSlots.shrink(to: CellTable.slotsMin)
            cellSlots.shrink(to: CellTable.slotsMin)
            order.shrink(to: CellTable.slotsMin)
        }
        arena.shrink(to: CellTable.arenaKept)
    }

    private static func power(above count: Int) -> Int {
        count <= 1 ? 1 : 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
    }

    // MARK: - Adding

    /// Counts one event in a series, whose number stays what it is until `reset`.
    @inline(__always)
    mutating func add(to number: Int, window: Int64, value: Int64?) {
        if entries[number].latestWindow != window { turn(number, to: window) }
        entries[number].pending &+= 1
        if let value { add(value: value, toLatestOf: number) }
    }

    private mutating func add(value: Int64, toLatestOf number: Int) {
        keepFirstCell(of: number)
        let cell = Int(entries[number].latest)
        let place = cells[cell].values
        if place == CellTable.none {
            cells[cell].values = UInt32(firsts.count) | CellTable.single
            firsts.append(value)
            return
        }
        if place & CellTable.single != 0 {
            let first = firsts[Int(place & ~CellTable.single)]
            cells[cell].values = UInt32(values.count)
            values.append(
                Values(
                    sum: Int128(first) &+ Int128(value), min: min(first, value),
                    max: max(first, value), count: 2))
            return
        }
        values[Int(place)].count &+= 1
        // At most 2^32 times 2^63.
        values[Int(place)].sum &+= Int128(value)
        values[Int(place)].min = min(values[Int(place)].min, value)
        values[Int(place)].max = max(values[Int(place)].max, value)
    }

    /// The series of key and type; a new one has a first cell, of `window`.
    @inline(__always)
    mutating func series(key: FieldText, type: FieldText, window: Int64) -> Int {
        let type = types.number(of: type)
        let ends = ByteScan.ends(key.start, key.count)
        let hash = ByteScan.hash(key.start, key.count, ends: ends, seed: type.hash)
        let tag = CellTable.tag(hash)
        let mask = seriesSlots.count &- 1
        var position = Int(truncatingIfNeeded: hash) & mask
        while true {
            let slot = seriesSlots[position]
            if slot == 0 { break }
            if (slot ^ tag) <= CellTable.numberMax {
                let number = Int(slot & CellTable.numberMax) &- 1
                if isSeries(number, key: key, ends: ends, type: type.number) { return number }
            }
            position = (position &+ 1) & mask
        }
        let number = entries.count
        insertSeries(
            Series(
                hash: hash, ends: ends, keyStart: UInt32(arena.count),
                keyCount: UInt16(key.count), type: type.number, window: window),
            key: key, at: position)
        return number
    }

    @inline(__always)
    private func isSeries(
        _ number: Int, key: FieldText, ends: ByteScan.Ends, type: UInt32
    ) -> Bool {
        guard Int(entries[number].keyCount) == key.count, entries[number].type == type,
            entries[number].ends.head == ends.head, entries[number].ends.tail == ends.tail
        else { return false }
        // The arena holds all bytes of a key from the moment it is inserted.
        return key.count <= ByteScan.Ends.wholeMax
            || ByteScan.areEqual(arena.base + Int(entries[number].keyStart), key.start, key.count)
    }

    /// Bytes of keys and types that are held.
    var textBytes: Int { arena.count &+ types.textBytes }

    private mutating func insertSeries(_ series: Series, key: FieldText, at position: Int) {
        let number = entries.count
        arena.append(from: key.start, count: key.count)
        entries.append(series)
        cellCount &+= 1
        seriesSlots[position] = CellTable.tag(series.hash) | UInt32(number + 1)
        if entries.count &* 2 > seriesSlots.count { growSeriesSlots() }
    }

    /// What a slot of the first table has beside the number.
    @inline(__always)
    private static func tag(_ hash: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: hash >> 32) & ~numberMax
    }

    private mutating func growSeriesSlots() {
        let count = seriesSlots.count * 2
        seriesSlots.refill(0, count: count)
        for number in 0..<entries.count {
            let hash = entries[number].hash
            var position = Int(truncatingIfNeeded: hash) & (count - 1)
            while seriesSlots[position] != 0 { position = (position + 1) & (count - 1) }
            seriesSlots[position] = CellTable.tag(hash) | UInt32(number + 1)
        }
    }

    // MARK: - Further cells

    /// Makes the cell of `window` the latest of a series, a new one if there is none.
    private mutating func turn(_ number: Int, to window: Int64) {
        keepFirstCell(of: number)
        let latest = Int(entries[number].latest)
        cells[latest].count &+= entries[number].pending
        let cell = findCell(of: number, window: window)
        entries[number].pending = 0
        entries[number].latest = UInt32(cell)
        entries[number].latestWindow = window
    }

    private mutating func keepFirstCell(of number: Int) {
        guard entries[number].first == CellTable.none else { return }
        let cell = UInt32(cells.count)
        cells.append(
            Cell(
                window: entries[number].latestWindow, count: 0, series: UInt32(number),
                next: CellTable.none, values: CellTable.none))
        entries[number].first = cell
        entries[number].last = cell
        entries[number].latest = cell
    }

    private mutating func findCell(of number: Int, window: Int64) -> Int {
        let entry = entries[number]
        let lastWindow =
            entry.latest == entry.last ? entry.latestWindow : cells[Int(entry.last)].window
        if entry.isOrdered, window > lastWindow {
            let cell = appendCell(to: number, window: window)
            if entry.isIndexed { index(cell) }
            return cell
        }
        if entry.isIndexed || entry.cellCount > CellTable.walkMax {
            if !entry.isIndexed { indexCells(of: number) }
            if let cell = lookUp(window, of: number) { return cell }
        } else {
            var next = entry.first
            while next != CellTable.none {
                if cells[Int(next)].window == window { return Int(next) }
                next = cells[Int(next)].next
            }
        }
        entries[number].loseOrder()
        let cell = appendCell(to: number, window: window)
        if entries[number].isIndexed { index(cell) }
        return cell
    }

    private mutating func appendCell(to number: Int, window: Int64) -> Int {
        let cell = cells.count
        cells.append(
            Cell(
                window: window, count: 0, series: UInt32(number), next: CellTable.none,
                values: CellTable.none))
        cells[Int(entries[number].last)].next = UInt32(cell)
        entries[number].last = UInt32(cell)
        entries[number].addCell()
        cellCount &+= 1
        return cell
    }

    private func lookUp(_ window: Int64, of number: Int) -> Int? {
        let hash = CellTable.cellHash(entries[number].hash, window)
        let mask = cellSlots.count &- 1
        var position = Int(truncatingIfNeeded: hash) & mask
        while cellSlots[position] != 0 {
            let slot = cellSlots[position]
            if (slot ^ hash) & 0xffff_ffff_0000_0000 == 0 {
                let cell = Int(slot & 0xffff_ffff) &- 1
                if cells[cell].window == window, Int(cells[cell].series) == number { return cell }
            }
            position = (position &+ 1) & mask
        }
        return nil
    }

    private mutating func indexCells(of number: Int) {
        entries[number].markIndexed()
        var next = entries[number].first
        while next != CellTable.none {
            index(Int(next))
            next = cells[Int(next)].next
        }
    }

    /// Puts a cell, which is not there yet, into the second table.
    private mutating func index(_ cell: Int) {
        if (indexedCells &+ 1) &* 2 > cellSlots.count { growCellSlots() }
        place(cell)
        indexedCells &+= 1
    }

    private mutating func place(_ cell: Int) {
        let hash = CellTable.cellHash(
            entries[Int(cells[cell].series)].hash, cells[cell].window)
        let mask = cellSlots.count &- 1
        var position = Int(truncatingIfNeeded: hash) & mask
        while cellSlots[position] != 0 { position = (position &+ 1) & mask }
        cellSlots[position] = hash & 0xffff_ffff_0000_0000 | UInt64(cell + 1)
    }

    @inline(__always)
    private static func cellHash(_ series: UInt64, _ window: Int64) -> UInt64 {
        ByteScan.mix(
            series ^ 0x2d35_8dcc_aa6c_78a5, UInt64(bitPattern: window) ^ 0x8bb8_4b93_962e_acc9)
    }

    private mutating func growCellSlots() {
        var kept = GrowableBuffer<UInt64>(capacity: cellSlots.count * 2)
        kept.refill(0, count: cellSlots.count * 2)
        swap(&kept, &cellSlots)
        for position in 0..<kept.count where kept[position] != 0 {
            place(Int(kept[position] & 0xffff_ffff) - 1)
        }
    }

    // MARK: - Slices

    /// Writes all cells, partition by partition; nil if they take more than `bytesMax`. Nothing is
    /// added any more before `reset`.
    mutating func write(
        into writer: inout SliceWriter, bytesMax: Int, partitioner: CellPartitioner
    ) -> [SliceEntry]? {
        writer.removeAll()
        if max(entries.count, indexedCells) > CellTable.cellsKept {
            // Nothing is looked up any more, and the slices of so many cells need the memory.
            seriesSlots.shrink(to: CellTable.slotsMin)
            cellSlots.shrink(to: CellTable.slotsMin)
            types.dropSlots()
            // What is not written to costs nothing, and a few bytes a number are enough for most.
            writer.makeRoom(
                for: min(bytesMax, arena.count + entries.count * 8 + cellCount * 16))
        }
        if let windows = partitioner.windowsPerDay { splitSeries(byDaysOf: windows, partitioner) }
        sort(partitioner.partition)
        var slices: [SliceEntry] = []
        var position = 0
        while position < order.count {
            let partition = entries[Int(order[position])].partition
            let offset = writer.count
            var cellCount = 0
            while position < order.count {
                let number = Int(order[position])
                guard entries[number].partition == partition else { break }
                write(number, into: &writer)
                guard writer.count <= bytesMax else { return nil }
                cellCount += entries[number].cellCount
                position += 1
            }
            slices.append(
                SliceEntry(
                    partition: PartitionID(Int(partition)), offset: offset,
                    length: writer.count - offset, cells: cellCount))
        }
        // The caller copies what was written, and a record is made of that.
        if cellCount > CellTable.cellsKept { giveBack() }
        return slices
    }

    /// Gives the days of a series that lie in other partitions than its first one series of their
    /// own, one for each partition. Those come last, in the order in which the days first appeared:
    /// it depends on the bytes alone.
    private mutating func splitSeries(byDaysOf windows: Int64, _ partitioner: CellPartitioner) {
        // What is known of the days of the series in hand.
        var byDay: [Int64: Int] = [:]
        var byPartition: [PartitionID: Int] = [:]
        for number in 0..<entries.count {
            let entry = entries[number]
            guard entry.first != CellTable.none, entry.first != entry.last else { continue }
            let first = floorDivide(cells[Int(entry.first)].window, windows)
            if entry.isOrdered, floorDivide(cells[Int(entry.last)].window, windows) == first {
                continue
            }
            cells[Int(entry.latest)].count &+= entry.pending
            entries[number] = entry.emptied()
            byDay.removeAll(keepingCapacity: true)
            byPartition.removeAll(keepingCapacity: true)
            var next = entry.first
            while next != CellTable.none {
                let cell = Int(next)
                next = cells[cell].next
                let window = cells[cell].window
                let day = floorDivide(window, windows)
                if let place = byDay[day] {
                    move(cell, to: place)
                    continue
                }
                let partition = partitioner.partition(key(of: entry), window)
                let isFirst = byPartition.isEmpty
                let place = byPartition[partition] ?? (isFirst ? number : entries.count)
                if place == entries.count { entries.append(entry.emptied()) }
                // Of very many days most come once.
                if byDay.count == CellTable.daysKept { byDay.removeAll(keepingCapacity: true) }
                byDay[day] = place
                byPartition[partition] = place
                move(cell, to: place)
            }
        }
    }

    /// Valid until another key comes: the arena holds it.
    private func key(of entry: Series) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: arena.base + Int(entry.keyStart), count: Int(entry.keyCount))
    }

    /// Makes a cell the last and latest of a series.
    private mutating func move(_ cell: Int, to number: Int) {
        cells[cell].next = CellTable.none
        let last = entries[number].last
        if last == CellTable.none {
            entries[number].first = UInt32(cell)
        } else {
            cells[Int(last)].next = UInt32(cell)
        }
        entries[number].last = UInt32(cell)
        entries[number].latest = UInt32(cell)
        entries[number].latestWindow = cells[cell].window
        entries[number].addCell()
    }

    /// Orders the series by partition, counting: those of one partition keep their order.
    private mutating func sort(_ partition: (UnsafeRawBufferPointer, Int64) -> PartitionID) {
        var starts = [Int](repeating: 0, count: Limits.partitionsMax + 1)
        for number in 0..<entries.count {
            let entry = entries[number]
            let partition = partition(key(of: entry), entry.latestWindow).index
            precondition(Int(partition) < Limits.partitionsMax, "a partition beyond the ring")
            entries[number].partition = partition
            starts[Int(partition) + 1] += 1
        }
        for partition in 0..<Limits.partitionsMax { starts[partition + 1] += starts[partition] }
        order.refill(0, count: entries.count)
        for number in 0..<entries.count {
            let partition = Int(entries[number].partition)
            order[starts[partition]] = UInt32(number)
            starts[partition] += 1
        }
    }

    private func write(_ number: Int, into writer: inout SliceWriter) {
        let entry = entries[number]
        writer.beginSeries(
            key: key(of: entry), type: types.text(of: entry.type), cells: entry.cellCount)
        if entry.first == CellTable.none {
            // Most: all of its events are those since it began.
            writer.append(window: entry.latestWindow, count: UInt64(entry.pending))
            return
        }
        var next = entry.first
        while next != CellTable.none {
            let cell = cells[Int(next)]
            let count = UInt64(cell.count) + UInt64(next == entry.latest ? entry.pending : 0)
            if cell.values == CellTable.none {
                writer.append(window: cell.window, count: count)
            } else {
                writer.append(
                    window: cell.window, count: count, values: measure(at: cell.values))
            }
            next = cell.next
        }
    }

    private func measure(at place: UInt32) -> Measure.Values {
        guard place & CellTable.single != 0 else { return values[Int(place)].measure }
        let value = firsts[Int(place & ~CellTable.single)]
        return Measure.Values(count: 1, sum: Int128(value), min: value, max: value)
    }
}
