import Core
import Wire

/// What a key weighs at most, whichever windows are asked for.
struct KeyBound: Hashable, Sendable {
    static let zero = KeyBound(count: 0, sum: 0)

    /// Events.
    var count: UInt64
    /// Millionths: of its cells those above zero alone, since a range may leave the others out.
    var sum: Int128

    @inline(__always)
    mutating func add(_ measure: Measure) {
        count = count.boundedAdding(measure.count)
        if let added = measure.values?.sum, added > 0 { sum = sum.boundedAdding(added) }
    }

    mutating func add(_ other: KeyBound) {
        count = count.boundedAdding(other.count)
        if other.sum > 0 { sum = sum.boundedAdding(other.sum) }
    }

    mutating func widen(to other: KeyBound) {
        count = max(count, other.count)
        if other.sum > sum { sum = other.sum }
    }
}

/// Of each block of a table, what the heaviest of its keys weighs in the whole table, by type: with
/// it a scan passes over blocks without a type, and a top list over those that cannot matter.
///
/// A slot is what a question may be about: all types that events have, one of the first types of
/// the table, or any other type. A block has no slot of a type of which it has no cell.
struct TableBounds: Hashable, Sendable {
    static let all: UInt8 = 0
    static let others: UInt8 = 1
    /// Of the first type; the next has the next.
    static let firstType: UInt8 = 2

    /// In the order in which they appear.
    private(set) var types: [[UInt8]] = []
    /// Where a block's slots begin in the lists below, and the end of the last.
    private var starts: [UInt32] = [0]
    private var continued: [Bool] = []
    private var slots: [UInt8] = []
    private var counts: [UInt64] = []
    /// Empty where all of them are zero.
    private var sums: [Int128] = []

    var blocks: Int { continued.count }

    var memoryBytes: Int { blocks * 5 + slots.count * 9 + sums.count * 16 }

    /// Whether a block begins with the key with which the block before it ends.
    func continuesKey(_ block: Int) -> Bool { continued[block] }

    /// nil: the table has no cell of the type. Types beyond the first share a slot.
    func slot(of type: [UInt8]?) -> UInt8? {
        guard let type else { return Self.all }
        if let known = type.withUnsafeBytes({ slot(ofKnown: $0) }) { return known }
        return types.count == StorageLimits.boundTypesMax ? Self.others : nil
    }

    private func slot(ofKnown type: UnsafeRawBufferPointer) -> UInt8? {
        let place = types.firstIndex { held in
            held.withUnsafeBytes { ByteOrder.areEqual($0, type) }
        }
        return place.map { Self.firstType + UInt8($0) }
    }

    subscript(block: Int, slot: UInt8) -> KeyBound? {
        slots[places(of: block)].firstIndex(of: slot).map(bound)
    }

    private func places(of block: Int) -> Range<Int> {
        Int(starts[block])..<Int(starts[block + 1])
    }

    private func bound(at place: Int) -> KeyBound {
        KeyBound(count: counts[place], sum: sums.isEmpty ? 0 : sums[place])
    }

    /// Adds a block.
    fileprivate mutating func append(_ row: BoundsRow) {
        for (slot, bound) in row.slots.enumerated() {
            if let bound { append(UInt8(slot), bound) }
        }
        endBlock(continuesKey: row.continuesKey)
    }

    private mutating func append(_ slot: UInt8, _ bound: KeyBound) {
        slots.append(slot)
        counts.append(bound.count)
        if sums.isEmpty, bound.sum > 0 { sums = Array(repeating: 0, count: counts.count - 1) }
        if bound.sum > 0 || !sums.isEmpty { sums.append(bound.sum) }
    }

    private mutating func endBlock(continuesKey: Bool) {
        continued.append(continuesKey)
        starts.append(UInt32(slots.count))
    }

    /// The slot of a type, which takes its place among the first if there is one.
    fileprivate mutating func slot(adding type: UnsafeRawBufferPointer) -> UInt8 {
        if let known = slot(ofKnown: type) { return known }
        guard types.count < StorageLimits.boundTypesMax else { return Self.others }
        types.append(Array(type))
        return Self.firstType + UInt8(types.count - 1)
    }
}

/// Of a block whose last key may still pass.
private struct BoundsRow: Sendable {
    let continuesKey: Bool
    var slots: [KeyBound?] = []

    mutating func widen(_ slot: UInt8, to bound: KeyBound) {
        while slots.count <= Int(slot) { slots.append(nil) }
        var wider = slots[Int(slot)] ?? .zero
        wider.widen(to: bound)
        slots[Int(slot)] = wider
    }
}

/// Finds the bounds of a table's blocks while its cells pass in their order.
struct TableBoundsBuilder: Sendable {
    private var bounds = TableBounds()
    /// Of the blocks in which the key that passes has cells, and of the one before them that may
    /// get more: what a key weighs is known when it has passed.
    private var rows: [BoundsRow] = []
    private var isBlockOpen = false
    /// Whether a cell of the key has passed.
    private var isKeyOpen = false
    private var series = KeyBound.zero
    private var key = KeyBound.zero
    /// The rows from which on cells of the series, and visible ones of the key, lie.
    private var seriesRow: Int?
    private var keyRow: Int?
    private var slot = TableBounds.others
    private var isVisible = false

    init() {}

    /// Those of the blocks so far.
    var found: TableBounds {
        var ended = self
        ended.endKey()
        for row in ended.rows { ended.bounds.append(row) }
        return ended.bounds
    }

    mutating func begin(isNewKey: Bool, type: UnsafeRawBufferPointer) {
        endSeries()
        if isNewKey { endKey() }
        isVisible = !RetirementMark.isHidden(type: type)
        slot = bounds.slot(adding: type)
    }

    @inline(__always)
    mutating func add(_ measure: Measure) {
        if !isBlockOpen {
            rows.append(BoundsRow(continuesKey: isKeyOpen))
            isBlockOpen = true
        }
        isKeyOpen = true
        if seriesRow == nil { seriesRow = rows.count - 1 }
        series.add(measure)
    }

    /// The next cell lies in another block.
    mutating func endBlock() {
        isBlockOpen = false
    }

    private mutating func endSeries() {
        guard let first = seriesRow else { return }
        for row in first..<rows.count { rows[row].widen(slot, to: series) }
        if isVisible {
            key.add(series)
            keyRow = keyRow ?? first
        }
        series = .zero
        seriesRow = nil
    }

    private mutating func endKey() {
        endSeries()
        if let first = keyRow {
            for row in first..<rows.count { rows[row].widen(TableBounds.all, to: key) }
        }
        key = .zero
        keyRow = nil
        isKeyOpen = false
        guard rows.count > 1 else { return }
        for row in rows.dropLast() { bounds.append(row) }
        rows.removeFirst(rows.count - 1)
    }
}

extension TableBounds {
    /// Behind the checksums of an index.
    func write(to writer: inout ByteWriter) {
        writer.write(count: types.count)
        for type in types { writer.write(sized: type) }
        for block in 0..<blocks {
            let places = places(of: block)
            writer.write(varint: UInt64(places.count) << 1 | (continued[block] ? 1 : 0))
            for place in places {
                let bound = bound(at: place)
                writer.write(slots[place] << 1 | (bound.sum > 0 ? 1 : 0))
                writer.write(varint: bound.count)
                if bound.sum > 0 { writer.write(fixed: bound.sum) }
            }
        }
    }

    init(decoding reader: inout ByteReader, blocks: Int) throws(DecodeError) {
        let typeCount = try reader.count(ofSize: 1)
        guard typeCount <= StorageLimits.boundTypesMax else {
            throw reader.fail("bounds of \(typeCount) types")
        }
        for _ in 0..<typeCount { types.append(try reader.sized(max: Limits.typeMax)) }
        guard Set(types).count == typeCount else { throw reader.fail("a type twice") }
        let slotsMax = Int(Self.firstType) + types.count
        for _ in 0..<blocks {
            let head = try reader.varint()
            guard head >> 1 <= UInt64(slotsMax) else {
                throw reader.fail("bounds of \(head >> 1) slots")
            }
            var least = 0
            for _ in 0..<head >> 1 {
                let form = try reader.byte()
                let count = try reader.varint()
                let sum: Int128 = form & 1 == 1 ? try reader.fixed() : 0
                let slot = Int(form >> 1)
                guard slot >= least, slot < slotsMax, sum > 0 || form & 1 == 0 else {
                    throw reader.fail("a bound of slot \(slot)")
                }
                append(UInt8(slot), KeyBound(count: count, sum: sum))
                least = slot + 1
            }
            endBlock(continuesKey: head & 1 == 1)
        }
    }
}

extension FixedWidthInteger {
    /// Of numbers that are not below zero, as a bound: the greatest number where it is more.
    @inline(__always)
    func boundedAdding(_ other: Self) -> Self {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }
}
