import Core
import Wire

/// What a key weighs at most, whichever windows are asked for.
struct KeyBound: Hashable, Sendable {
    static let zero = KeyBound(count: 0, sum: nil)

    /// Events.
    var count: UInt64
    /// Millionths: of its cells those above zero alone, since a range may leave the others out.
    /// nil: no event carried a value.
    var sum: Int128?

    @inline(__always)
    mutating func add(_ measure: Measure) {
        count = count.saturatingAdding(measure.count)
        if let added = measure.values?.sum {
            sum = (sum ?? 0).saturatingAdding(max(0, added))
        }
    }

    mutating func add(_ other: KeyBound) {
        count = count.saturatingAdding(other.count)
        if let added = other.sum { sum = (sum ?? 0).saturatingAdding(added) }
    }

    mutating func widen(to other: KeyBound) {
        count = max(count, other.count)
        if let theirs = other.sum { sum = max(sum ?? 0, theirs) }
    }
}

/// Of each block of a table, what the heaviest of its keys weighs in the whole table, by type: with
/// it a top list passes over blocks that cannot matter.
///
/// A slot is what a question may be about: all types that events have, one of the first types of
/// the table, or any of the others. A block has no slot of a type of which it has no cell.
struct TableBounds: Hashable, Sendable {
    static let all: UInt8 = 0
    static let others: UInt8 = 1
    /// Of the first type; the others follow.
    static let firstType: UInt8 = 2

    /// In the order in which they appear.
    fileprivate(set) var types: [[UInt8]] = []
    /// Where a block's slots begin in the lists below, and the end of the last.
    private var starts: [UInt32] = [0]
    /// Whether a block begins with the key with which the block before it ends.
    private var goOn: [Bool] = []
    private var slots: [UInt8] = []
    private var counts: [UInt64] = []
    /// Empty where no event of the table carried a value, below zero where none of a block's.
    private var sums: [Int128] = []

    var blocks: Int { goOn.count }

    var memoryBytes: Int { blocks * 5 + slots.count * 9 + sums.count * 16 }

    func goesOn(_ block: Int) -> Bool { goOn[block] }

    /// nil: the table has no cell of the type. Types beyond the first share a slot.
    func slot(of type: [UInt8]?) -> UInt8? {
        guard let type else { return Self.all }
        if let place = types.firstIndex(of: type) { return Self.firstType + UInt8(place) }
        return types.count == StorageLimits.boundTypesMax ? Self.others : nil
    }

    subscript(block: Int, slot: UInt8) -> KeyBound? {
        place(block, slot).map { bound(at: $0) }
    }

    private func place(_ block: Int, _ slot: UInt8) -> Int? {
        slots[Int(starts[block])..<Int(starts[block + 1])].firstIndex(of: slot)
    }

    private func bound(at place: Int) -> KeyBound {
        let sum = sums.isEmpty ? -1 : sums[place]
        return KeyBound(count: counts[place], sum: sum < 0 ? nil : sum)
    }

    fileprivate mutating func append(_ slot: UInt8, _ bound: KeyBound) {
        slots.append(slot)
        counts.append(bound.count)
        if sums.isEmpty, bound.sum != nil { sums = Array(repeating: -1, count: counts.count - 1) }
        if bound.sum != nil || !sums.isEmpty { sums.append(bound.sum ?? -1) }
    }

    fileprivate mutating func endBlock(goesOn: Bool) {
        goOn.append(goesOn)
        starts.append(UInt32(slots.count))
    }

    fileprivate mutating func widen(_ block: Int, _ slot: UInt8, to bound: KeyBound) {
        guard let place = place(block, slot) else {
            preconditionFailure("a block has a cell of what it has no slot of")
        }
        var wider = self.bound(at: place)
        wider.widen(to: bound)
        counts[place] = wider.count
        guard let sum = wider.sum else { return }
        if sums.isEmpty { sums = Array(repeating: -1, count: counts.count) }
        sums[place] = sum
    }
}

/// Finds the bounds of a table's blocks while its cells pass in their order.
struct TableBoundsBuilder: Sendable {
    /// What the cells of a series or key add up to, and the blocks in which they lie.
    private struct Passing {
        var bound = KeyBound.zero
        var first = 0
        /// Below `first` while no cell has passed.
        var last = -1
    }

    private var bounds = TableBounds()
    /// Of the block that is open, by slot.
    private var row: [KeyBound?] = []
    private var series = Passing()
    private var key = Passing()
    private var slot = TableBounds.others
    private var isVisible = false
    /// Whether the open block began with the key that was passing, and whether it has a cell.
    private var goesOn = false
    private var isEmpty = true
    private var isKeyNew = true

    init() {}

    /// Those of all blocks that were ended.
    var found: TableBounds {
        var ended = self
        ended.endKey()
        return ended.bounds
    }

    mutating func begin(isNewKey: Bool, type: UnsafeRawBufferPointer) {
        endSeries()
        if isNewKey { endKey() }
        isVisible = !RetirementMark.isHidden(type: type)
        slot = self.slot(of: type)
    }

    private mutating func slot(of type: UnsafeRawBufferPointer) -> UInt8 {
        for (place, held) in bounds.types.enumerated()
        where held.withUnsafeBytes({ ByteOrder.areEqual($0, type) }) {
            return TableBounds.firstType + UInt8(place)
        }
        guard bounds.types.count < StorageLimits.boundTypesMax else { return TableBounds.others }
        bounds.types.append(Array(type))
        return TableBounds.firstType + UInt8(bounds.types.count - 1)
    }

    @inline(__always)
    mutating func add(_ measure: Measure) {
        if isEmpty {
            isEmpty = false
            goesOn = !isKeyNew
        }
        isKeyNew = false
        if series.last < series.first { series.first = bounds.blocks }
        series.last = bounds.blocks
        series.bound.add(measure)
    }

    /// The next cell lies in another block.
    mutating func endBlock() {
        hold(series, slot)
        if isVisible { hold(series, TableBounds.all) }
        hold(key, TableBounds.all)
        for (slot, bound) in row.enumerated() {
            if let bound { bounds.append(UInt8(slot), bound) }
        }
        bounds.endBlock(goesOn: goesOn)
        row.removeAll(keepingCapacity: true)
        isEmpty = true
    }

    /// The open block has a slot for what passes, though nobody knows yet what it weighs.
    private mutating func hold(_ passing: Passing, _ slot: UInt8) {
        guard passing.last == bounds.blocks else { return }
        widenRow(slot, to: .zero)
    }

    private mutating func endSeries() {
        guard series.last >= series.first else { return }
        widen(series, slot)
        if isVisible {
            if key.last < key.first { key.first = series.first }
            key.last = series.last
            key.bound.add(series.bound)
        }
        series = Passing()
    }

    private mutating func endKey() {
        endSeries()
        if key.last >= key.first { widen(key, TableBounds.all) }
        key = Passing()
        isKeyNew = true
    }

    private mutating func widen(_ passing: Passing, _ slot: UInt8) {
        for block in passing.first...passing.last {
            if block < bounds.blocks {
                bounds.widen(block, slot, to: passing.bound)
            } else {
                widenRow(slot, to: passing.bound)
            }
        }
    }

    private mutating func widenRow(_ slot: UInt8, to bound: KeyBound) {
        while row.count <= Int(slot) { row.append(nil) }
        var wider = row[Int(slot)] ?? .zero
        wider.widen(to: bound)
        row[Int(slot)] = wider
    }
}

extension TableBounds {
    /// Behind the checksums of an index.
    func write(to writer: inout ByteWriter) {
        writer.write(count: types.count)
        for type in types { writer.write(sized: type) }
        for block in 0..<blocks {
            let places = Int(starts[block])..<Int(starts[block + 1])
            writer.write(varint: UInt64(places.count) << 1 | (goOn[block] ? 1 : 0))
            for place in places {
                let bound = bound(at: place)
                writer.write(slots[place] << 1 | (bound.sum == nil ? 0 : 1))
                writer.write(varint: bound.count)
                if let sum = bound.sum { writer.write(fixed: sum) }
            }
        }
    }

    init(decoding reader: inout ByteReader, blocks: Int) throws(DecodeError) {
        for _ in 0..<(try reader.count(ofSize: 1)) {
            types.append(try reader.sized(max: Limits.typeMax))
        }
        guard types.count <= StorageLimits.boundTypesMax, Set(types).count == types.count else {
            throw reader.fail("bounds of \(types.count) types")
        }
        for _ in 0..<blocks {
            let head = try reader.varint()
            guard head >> 1 <= UInt64(types.count) + 2 else {
                throw reader.fail("bounds of \(head >> 1) slots")
            }
            var least = 0
            for _ in 0..<head >> 1 {
                let form = try reader.byte()
                let count = try reader.varint()
                let sum: Int128? = form & 1 == 1 ? try reader.fixed() : nil
                let slot = Int(form >> 1)
                guard slot >= least, slot < types.count + 2, sum ?? 0 >= 0 else {
                    throw reader.fail("a bound of slot \(slot)")
                }
                append(UInt8(slot), KeyBound(count: count, sum: sum))
                least = slot + 1
            }
            endBlock(goesOn: head & 1 == 1)
        }
    }
}

extension FixedWidthInteger {
    /// A bound that is too great says nothing wrong.
    @inline(__always)
    func saturatingAdding(_ other: Self) -> Self {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }
}
