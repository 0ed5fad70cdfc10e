import Core
import Wire

/// The cells of one batch, in the order of their first appearance.
///
/// Two open-addressing tables with linear probing, at most half full. A slot holds 32 bits of the
/// hash and the number of its entry plus one, so that a probe leaves the slot only for a likely
/// hit. The first cell of a series is found through the series; only further ones are in the second
/// table.
struct CellTable: ~Copyable {
    struct Series: BitwiseCopyable {
        var hash: UInt64
        /// The window and number of the cell that was met last.
        var latestWindow: Int64
        var latest: UInt32
        var first: UInt32
        var last: UInt32
        var cells: UInt32
        /// Key and type in the arena, the key first.
        var keyStart: UInt32
        var typeStart: UInt32
        var keyCount: UInt16
        var typeCount: UInt16
        var partition: UInt16
    }

    struct Cell: BitwiseCopyable {
        var window: Int64
        var count: UInt32
        var series: UInt32
        /// The next cell of the same series; `none` at the end.
        var next: UInt32
        /// Where the cell's values are; `none` while no event carried one.
        var values: UInt32
    }

    /// `Measure.Values` as it grows.
    struct Values: BitwiseCopyable {
        var sum: Int128
        var min: Int64
        var max: Int64
        var count: UInt32

        var measure: Measure.Values {
            Measure.Values(count: UInt64(count), sum: sum, min: min, max: max)
        }
    }

    private static let none = UInt32.max
    private static let slotsMin = 1 << 10
    /// Memory beyond this many cells is given back after a batch.
    private static let cellsKept = 1 << 18
    private static let arenaKept = 1 << 23

    private let seed: UInt64
    private var entries = GrowableBuffer<Series>(capacity: 1 << 10)
    private var cells = GrowableBuffer<Cell>(capacity: 1 << 10)
    private var values = GrowableBuffer<Values>()
    private var arena = GrowableBuffer<UInt8>(capacity: 1 << 14)
    private var seriesSlots = GrowableBuffer<UInt64>(capacity: slotsMin)
    private var cellSlots = GrowableBuffer<UInt64>(capacity: slotsMin)
    private var order = GrowableBuffer<UInt32>()
    /// How many cells are in the second table.
    private var furtherCells = 0

    init(seed: UInt64) {
        self.seed = seed
    }

    var cellCount: Int { cells.count }

    /// Empties the table for the next batch, with slots for as many series as the last one had.
    mutating func reset() {
        let slots = max(CellTable.slotsMin, CellTable.power(above: entries.count &* 2))
        let further = max(CellTable.slotsMin, CellTable.power(above: furtherCells &* 2))
        if cells.count > CellTable.cellsKept {
            entries.shrink(to: CellTable.slotsMin)
            cells.shrink(to: CellTable.slotsMin)
            values.shrink(to: CellTable.slotsMin)
            seriesSlots.shrink(to: CellTable.slotsMin)
            cellSlots.shrink(to: CellTable.slotsMin)
            order.shrink(to: CellTable.slotsMin)
        }
        arena.shrink(to: CellTable.arenaKept)
        let isLarge = max(slots, further) > CellTable.cellsKept * 2
        seriesSlots.refill(0, count: isLarge ? CellTable.slotsMin : slots)
        cellSlots.refill(0, count: isLarge ? CellTable.slotsMin : further)
        entries.removeAll()
        cells.removeAll()
        values.removeAll()
        arena.removeAll()
        order.removeAll()
        furtherCells = 0
    }

    private static func power(above count: Int) -> Int {
        count <= 1 ? 1 : 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
    }

    // MARK: - Adding

    /// Counts one event in a series, whose number stays what it is until `reset`.
    @inline(__always)
    mutating func add(to number: Int, window: Int64, value: Int64?) {
        let cell: Int
        if entries[number].latestWindow == window {
            cell = Int(entries[number].latest)
        } else {
            cell = findCell(of: number, window: window)
        }
        cells[cell].count &+= 1
        if let value { add(value: value, to: cell) }
    }

    private mutating func add(value: Int64, to cell: Int) {
        let place = cells[cell].values
        if place == CellTable.none {
            cells[cell].values = UInt32(values.count)
            values.append(Values(sum: Int128(value), min: value, max: value, count: 1))
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
        let typeHash = ByteScan.hash(type.start, type.count, seed: seed)
        let hash = ByteScan.hash(key.start, key.count, seed: typeHash)
        let tag = hash & 0xffff_ffff_0000_0000
        let mask = seriesSlots.count &- 1
        var position = Int(truncatingIfNeeded: hash) & mask
        while true {
            let slot = seriesSlots[position]
            if slot == 0 { break }
            if slot & 0xffff_ffff_0000_0000 == tag {
                let number = Int(slot & 0xffff_ffff) &- 1
                if isSeries(number, key: key, type: type) { return number }
            }
            position = (position &+ 1) & mask
        }
        return insertSeries(key: key, type: type, window: window, hash: hash, at: position)
    }

    @inline(__always)
    private func isSeries(_ number: Int, key: FieldText, type: FieldText) -> Bool {
        let entry = entries[number]
        // The arena holds all bytes of an entry from the moment it is inserted.
        return Int(entry.keyCount) == key.count && Int(entry.typeCount) == type.count
            && ByteScan.areEqual(arena.base + Int(entry.keyStart), key.start, key.count)
            && ByteScan.areEqual(arena.base + Int(entry.typeStart), type.start, type.count)
    }

    /// Bytes of keys and types that are held.
    var textBytes: Int { arena.count }

    private mutating func insertSeries(
        key: FieldText, type: FieldText, window: Int64, hash: UInt64, at position: Int
    ) -> Int {
        let number = entries.count
        let cell = UInt32(cells.count)
        let keyStart = UInt32(arena.count)
        arena.append(from: key.start, count: key.count)
        var typeStart = UInt32(arena.count)
        // Neighbours mostly share their type.
        if number > 0, entries[number - 1].typeCount == UInt16(type.count),
            ByteScan.areEqual(
                arena.base + Int(entries[number - 1].typeStart), type.start, type.count)
        {
            typeStart = entries[number - 1].typeStart
        } else {
            arena.append(from: type.start, count: type.count)
        }
        entries.append(
            Series(
                hash: hash, latestWindow: window, latest: cell, first: cell, last: cell, cells: 1,
                keyStart: keyStart, typeStart: typeStart, keyCount: UInt16(key.count),
                typeCount: UInt16(type.count), partition: 0))
        cells.append(
            Cell(
                window: window, count: 0, series: UInt32(number), next: CellTable.none,
                values: CellTable.none))
        seriesSlots[position] = hash & 0xffff_ffff_0000_0000 | UInt64(number + 1)
        if entries.count &* 2 > seriesSlots.count { growSeriesSlots() }
        return number
    }

    private mutating func findCell(of number: Int, window: Int64) -> Int {
        let first = Int(entries[number].first)
        if cells[first].window == window {
            entries[number].latest = UInt32(first)
            entries[number].latestWindow = window
            return first
        }
        let hash = CellTable.cellHash(entries[number].hash, window)
        let tag = hash & 0xffff_ffff_0000_0000
        let mask = cellSlots.count &- 1
        var position = Int(truncatingIfNeeded: hash) & mask
        var found = -1
        while found < 0 {
            let slot = cellSlots[position]
            if slot == 0 { break }
            if slot & 0xffff_ffff_0000_0000 == tag {
                let cell = Int(slot & 0xffff_ffff) &- 1
                if cells[cell].window == window, Int(cells[cell].series) == number { found = cell }
            }
            position = (position &+ 1) & mask
        }
        if found < 0 { found = insertCell(of: number, window: window, tag: tag, at: position) }
        entries[number].latest = UInt32(found)
        entries[number].latestWindow = window
        return found
    }

    private mutating func insertCell(
        of number: Int, window: Int64, tag: UInt64, at position: Int
    ) -> Int {
        let cell = cells.count
        cells.append(
            Cell(
                window: window, count: 0, series: UInt32(number), next: CellTable.none,
                values: CellTable.none))
        cells[Int(entries[number].last)].next = UInt32(cell)
        entries[number].last = UInt32(cell)
        entries[number].cells &+= 1
        cellSlots[position] = tag | UInt64(cell + 1)
        furtherCells &+= 1
        if furtherCells &* 2 > cellSlots.count { growCellSlots() }
        return cell
    }

    @inline(__always)
    private static func cellHash(_ series: UInt64, _ window: Int64) -> UInt64 {
        ByteScan.mix(
            series ^ 0x2d35_8dcc_aa6c_78a5, UInt64(bitPattern: window) ^ 0x8bb8_4b93_962e_acc9)
    }

    private mutating func growSeriesSlots() {
        let count = seriesSlots.count * 2
        seriesSlots.refill(0, count: count)
        for number in 0..<entries.count {
            let hash = entries[number].hash
            var position = Int(truncatingIfNeeded: hash) & (count - 1)
            while seriesSlots[position] != 0 { position = (position + 1) & (count - 1) }
            seriesSlots[position] = hash & 0xffff_ffff_0000_0000 | UInt64(number + 1)
        }
    }

    private mutating func growCellSlots() {
        let count = cellSlots.count * 2
        cellSlots.refill(0, count: count)
        for cell in 0..<cells.count {
            let owner = Int(cells[cell].series)
            if Int(entries[owner].first) == cell { continue }
            let hash = CellTable.cellHash(entries[owner].hash, cells[cell].window)
            var position = Int(truncatingIfNeeded: hash) & (count - 1)
            while cellSlots[position] != 0 { position = (position + 1) & (count - 1) }
            cellSlots[position] = hash & 0xffff_ffff_0000_0000 | UInt64(cell + 1)
        }
    }

    // MARK: - Slices

    /// Writes all cells, partition by partition; nil if they take more than `bytesMax`.
    mutating func write(
        into writer: inout SliceWriter, bytesMax: Int,
        partitioner: (UnsafeRawBufferPointer) -> PartitionID
    ) -> [SliceEntry]? {
        writer.removeAll()
        if max(entries.count, furtherCells) > CellTable.cellsKept {
            // Nothing is looked up any more, and the slices of so many cells need the memory.
            seriesSlots.shrink(to: CellTable.slotsMin)
            cellSlots.shrink(to: CellTable.slotsMin)
        }
        sort(partitioner)
        var slices: [SliceEntry] = []
        var position = 0
        while position < order.count {
            let partition = entries[Int(order[position])].partition
            let offset = writer.count
            var cellCount = 0
            while position < order.count {
                let entry = entries[Int(order[position])]
                guard entry.partition == partition else { break }
                write(entry, into: &writer)
                guard writer.count <= bytesMax else { return nil }
                cellCount += Int(entry.cells)
                position += 1
            }
            slices.append(
                SliceEntry(
                    partition: PartitionID(Int(partition)), offset: offset,
                    length: writer.count - offset, cells: cellCount))
        }
        return slices
    }

    /// Orders the series by partition, counting: those of one partition keep their order.
    private mutating func sort(_ partitioner: (UnsafeRawBufferPointer) -> PartitionID) {
        var starts = [Int](repeating: 0, count: Limits.partitionsMax + 1)
        for number in 0..<entries.count {
            let entry = entries[number]
            // The arena holds the key.
            let key = UnsafeRawBufferPointer(
                start: arena.base + Int(entry.keyStart), count: Int(entry.keyCount))
            let partition = partitioner(key).index
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

    private func write(_ entry: Series, into writer: inout SliceWriter) {
        // The arena holds key and type.
        writer.beginSeries(
            key: UnsafeRawBufferPointer(
                start: arena.base + Int(entry.keyStart), count: Int(entry.keyCount)),
            type: UnsafeRawBufferPointer(
                start: arena.base + Int(entry.typeStart), count: Int(entry.typeCount)),
            cells: Int(entry.cells))
        var next = entry.first
        while next != CellTable.none {
            let cell = cells[Int(next)]
            if cell.values == CellTable.none {
                writer.append(window: cell.window, count: UInt64(cell.count))
            } else {
                writer.append(
                    window: cell.window, count: UInt64(cell.count),
                    values: values[Int(cell.values)].measure)
            }
            next = cell.next
        }
    }
}
